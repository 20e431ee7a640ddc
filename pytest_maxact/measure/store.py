"""Records kept by the content they were measured from, so that nothing is measured twice. No torch.

A key is the SHA-256 of what decides the figures: weights, config, tokenizer, encoded corpus, settings, versions. Beside
a Record lies its manifest, which is written last: without it a Record is not read. Both are put in place by renaming,
and one lock per key lets only one process measure. A process that is killed leaves a Record whole or not at all, and
its lock to the next. What could not be tried once, for want of memory say, is not kept: the next run tries it.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, TypeVar

from pytest_maxact.errors import InputError, marked, setting
from pytest_maxact.measure.once import locked, once
from pytest_maxact.record.file import load, put
from pytest_maxact.record.output import Kind, may_be_written, require_folder
from pytest_maxact.record.record import Record
from pytest_maxact.record.whole import write_whole

Given = TypeVar("Given")
SUFFIX = ".record.safetensors"
_KEPT = Kind(called="the Record", is_one=lambda path: True)
"""What lies under a key is the store's own, damaged or not."""


class Store:
    """A folder of Records. Raises InputError where it cannot be made or written, and where it lies in a checkpoint,
    such as one of those `apart`.

    What was measured and cannot be kept is `unkept`, for the run to say, and had all the same. One that nobody `asked`
    for is also done without where it cannot be locked.
    """

    def __init__(self, folder: Path, apart: Iterable[Path] = (), *, asked: bool = True) -> None:
        require_folder(folder, f"{setting('cache')}: Records", apart)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{setting('cache')} {folder}: cannot be made ({error.strerror})\n  give a folder that can be written"
            ) from error
        if not may_be_written(folder):
            raise InputError(
                f"{setting('cache')} {folder}: may not be written\n  give another folder with {setting('cache')}"
            )
        self.folder, self._asked = folder, asked
        self.unkept = ""
        """Why something is not kept; empty where all is."""

    def obtain(self, content: Mapping[str, Any], measure: Callable[[], Record]) -> Record:
        """The Record of this content, measured if nobody has. Where another process measures it now, this one waits for
        it.
        """
        key = key_of(content)

        def measured() -> Record:
            self._clear(key)
            return measure()

        lock = self._tried(lambda: self._locked(key), self._asked)
        if lock is None:
            return self._get(key, content) or measure()
        return once(
            lock,
            look=lambda: self._get(key, content),
            make=measured,
            put=lambda record: None if record.untried else self._tried(lambda: self._put(key, content, record)),
        )

    def _tried(self, write: Callable[[], Given], needed: bool = False) -> Given | None:
        """What writing gives; None where it fails and is not needed."""
        try:
            return write()
        except InputError as error:
            if needed:
                raise
            self.unkept = marked(error)
            return None

    def _clear(self, key: str) -> None:
        """Remove what processes that were killed left half written of this key."""
        for leftover in self.folder.glob(f".{key}*.partial"):
            with suppress(OSError):
                leftover.unlink()

    def _locked(self, key: str) -> AbstractContextManager[object]:
        try:
            return locked(self.folder / f"{key}.lock")
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> InputError:
        return InputError(
            f"{setting('cache')} {self.folder}: cannot be written ({error.strerror})\n"
            f"  see that there is space, or give another folder with {setting('cache')}"
        )

    def _get(self, key: str, content: Mapping[str, Any]) -> Record | None:
        """What is kept under a key; None also for a Record that is damaged, or that says of a trial that it failed:
        both are measured again.
        """
        try:
            manifest = json.loads(self._manifest(key).read_text(encoding="utf-8"))
            if manifest == self._manifest_of(key, content):
                record = load(self._path(key))
                return None if record.untried else record
        except (OSError, ValueError, RecursionError, InputError):
            pass
        return None

    def _put(self, key: str, content: Mapping[str, Any], record: Record) -> None:
        put(record, self._path(key), kind=_KEPT)
        try:
            write_whole(self._manifest(key), json.dumps(self._manifest_of(key, content), indent=1).encode())
        except OSError as error:
            raise self._unwritable(error) from error

    def _manifest_of(self, key: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """What the manifest of the Record that lies there now says."""
        digest = hashlib.sha256(self._path(key).read_bytes()).hexdigest()
        plain: dict[str, Any] = json.loads(
            json.dumps({"record": self._path(key).name, "sha256": digest, "measured_from": content})
        )
        return plain

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{SUFFIX}"

    def _manifest(self, key: str) -> Path:
        return self.folder / f"{key}.json"


def key_of(content: Mapping[str, Any]) -> str:
    """SHA-256 of content in one canonical form."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
