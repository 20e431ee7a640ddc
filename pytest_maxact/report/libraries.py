"""Libraries that a report takes beyond those of every install: modules in, a refusal out that says what to install.

Guards that one which is missing is told before anything is measured, by its name and not as a broken import.
"""

from collections.abc import Collection
from importlib.util import find_spec

from pytest_maxact.errors import InputError

DRAWING = ("altair", "vl_convert")
PAGE = ("jinja2", *DRAWING)
CARD = ("huggingface_hub",)
_CALLED = {"vl_convert": "vl-convert-python"}
_EXTRA = "pip install 'pytest-maxact[report]'; where torch is not wanted, pip install altair jinja2 vl-convert-python"


def require_libraries(what: str, modules: Collection[str]) -> None:
    """Raise InputError where one is not installed; `what` takes them: `a page takes`."""
    for module in modules:
        if find_spec(module) is None:
            raise missing(what, module)


def missing(what: str, module: str) -> InputError:
    install = _EXTRA if module in PAGE else f"pip install {module}"
    return InputError(f"{what} {_CALLED.get(module, module)}, which is not installed\n  {install}")
