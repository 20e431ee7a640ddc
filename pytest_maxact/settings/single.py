"""An option that is given once: the parsers of both doors refuse a second value that is another one, where argparse
would let the last one win unsaid.
"""

import argparse
from collections.abc import Sequence
from typing import Any


class Single(argparse.Action):
    """Stores a value, as argparse's own action does. Raises ArgumentError, naming both, for one that differs from what
    stands there.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        before = getattr(namespace, self.dest, None)
        if before is not None and before != values:
            raise argparse.ArgumentError(
                self, f"is given twice, as {_said(before)} and as {_said(values)}; give it once"
            )
        setattr(namespace, self.dest, values)


def _said(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
