"""A statement as text and back: signed by its content, so that any edit of the file is found.

The digest inside tells a file that was edited, and not who wrote it: whoever knows this program can write another one.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pytest_maxact.errors import InputError
from pytest_maxact.judge.statement.schema import DETAILS, Statement
from pytest_maxact.settings.userfiles import content_of, lying

MOST_BYTES = 256 << 20
"""A statement of a model of a thousand layers is a hundredth of this."""


def rendered(statement: Statement) -> str:
    """A statement as the text of a file, with the digest of its content in it."""
    document = _document(statement)
    document["predicate"][DETAILS]["sha256"] = ""
    document["predicate"][DETAILS]["sha256"] = hashlib.sha256(_canonical(document).encode()).hexdigest()
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def read(path: Path) -> Statement:
    """A statement from its file. Raises InputError for one that is missing, no statement of ours, or edited."""
    try:
        content = content_of(path, MOST_BYTES)
        if len(content) > MOST_BYTES:
            raise InputError(f"{path}: larger than any verdict\n  give the file of a run's verdict")
        text = content.decode()
        statement = Statement.model_validate_json(text)
    except OSError as error:
        raise InputError(
            f"no verdict at {path}{lying(path) or f' ({error.strerror})'}\n  give the file that the gate wrote"
        ) from error
    except (ValidationError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: not a verdict of pytest-maxact, or an edited one\n  give the file as the gate wrote it"
        ) from error
    if rendered(statement) != text:
        raise InputError(f"{path}: was edited since it was written, its content is not what its digest says")
    return statement


def is_statement(path: Path) -> bool:
    """Whether a file is a verdict of ours, whole or not: what may be replaced by one."""
    try:
        document = json.loads(path.read_bytes()[:MOST_BYTES])
        return DETAILS in document["predicate"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _document(statement: Statement) -> Any:
    """What later versions say of a check stands there only where there is something to say: those of earlier ones are
    what they were.
    """
    document = _whole(statement.model_dump(mode="json", by_alias=True))
    for checkpoint in document["predicate"][DETAILS]["checkpoints"]:
        for check in checkpoint["checks"]:
            for name in ("too_close", "inside_noise", "low", "high"):
                if check[name] is None or check[name] is False:
                    del check[name]
    return document


def _whole(data: Any) -> Any:
    """Without half characters, as in a path that is no UTF-8: no file can hold one."""
    if isinstance(data, str):
        return data.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(data, dict):
        return {_whole(name): _whole(value) for name, value in data.items()}
    return [_whole(one) for one in data] if isinstance(data, list) else data


def _canonical(document: Any) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
