"""torch and transformers, which only what opens a checkpoint needs: imported, or refused with which is at fault.

Guards that where they are missing, broken or too old the request is refused in a line, and that what judges Records
never asks for them.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from pytest_maxact.errors import InputError, first_line

TORCH = ("torch", "transformers")
_PARTS = {"transformers": "transformers.models.auto"}
"""What is looked up in a package only when it is used."""


@contextmanager
def needed(*libraries: str) -> Iterator[None]:
    """Around imports of what needs them. Raises InputError where one cannot be made, whatever it raises: a missing
    package, a shared object that does not load, a name that an older version lacks.
    """
    for library in libraries:
        try:
            import_module(library)
            import_module(_PARTS.get(library, library))
        except Exception as error:
            raise _refusal(library, error) from error
    try:
        yield
    except Exception as error:
        raise _refusal(" and ".join(f"{name} {_installed(name)}" for name in libraries), error) from error


def _refusal(library: str, error: Exception) -> InputError:
    missing = isinstance(error, ModuleNotFoundError) and error.name == library
    mend = f"install {library}" if missing else "install versions that fit each other and this machine"
    return InputError(
        f"{library} cannot be imported ({first_line(error)}), and a checkpoint cannot be opened without\n"
        f"  {mend} into the Python that runs this, {sys.executable}; Records are judged without it"
    )


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "of unknown version"
