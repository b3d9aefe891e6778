"""The replay beside the checkpoints: written a little at a time, so that a checkpoint writes only the rest.

The ring's chunks become files. A chunk that no slot writes any more stays as it is for a whole round of the ring, so it
is handed to a writing thread soon after it settled; a checkpoint itself then writes the few that are being filled.
A file's name holds its content's SHA-256: files are never changed, checkpoints share them, and attempts that went
different ways cannot take one for the other. One that no checkpoint was told of goes when its chunk is written anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepstream_trainer.learner.checkpoint import BESIDE_SUFFIX, State, as_arrays, deserialise, serialise, write_durably
from stepstream_trainer.learner.experience import Kept
from stepstream_trainer.logs import get_log
from stepstream_trainer.replay import Replay
from stepstream_trainer.rows import Array

_log = get_log("replay")

NAME_DIGITS = 24
"""Of the SHA-256 in a file's name: 96 bits. The manifest holds it whole."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    """What a chunk was when it was written."""

    version: int
    name: str
    sha256: str
    kept: bool = False
    """A checkpoint was told of it; whether it may go is for the checkpoints to say."""


class ReplayFiles:
    """Loop thread only; one thread of its own writes. Nothing but the newest `_File` of each chunk is remembered."""

    def __init__(self, replay: Replay, directory: Path) -> None:
        self._replay = replay
        self._directory = directory
        self._files: dict[int, _File] = {}
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="replay-writer")
        self._writing: Future[None] | None = None
        self._refused = False
        """The disk refused a chunk. Whether it still does, the next checkpoint will see."""

    def write_behind(self) -> None:
        """Hand one chunk to the writer, if one has settled and the writer has nothing to do."""
        if self._writing is not None:
            if not self._writing.done():
                return
            self._await_writer()
        if self._refused:
            return
        settled = self._unwritten(self._replay.settled_chunks())
        if (found := next(settled, None)) is not None:
            number, version = found
            self._writing = self._writer.submit(self._write, number, version, self._replay.read_chunk(number))

    def keep(self) -> Kept:
        """Write what is not yet written. Raises OSError when the disk refuses."""
        self._await_writer()
        self._refused = False
        for number, version in self._unwritten(np.flatnonzero(self._replay.chunk_versions())):
            self._write(number, version, self._replay.read_chunk(number))
        self._files = {number: replace(file, kept=True) for number, file in self._files.items()}
        files = {file.name: file.sha256 for file in self._files.values()}
        return Kept(state={"replay": {"rows": self._replay.state_dict(), "chunks": self.written()}}, files=files)

    def restore(self, state: State) -> None:
        """Bring back what `keep` gave as the state's `replay`; the checkpoint's files were found whole."""
        rows = as_arrays(state["rows"])
        for number, name in state["chunks"].items():
            data = (self._directory / name).read_bytes()
            self._replay.write_chunk(number, as_arrays(deserialise(data)))
            sha256 = hashlib.sha256(data).hexdigest()
            version = int(rows["chunk_versions"][number])
            self._files[number] = _File(version=version, name=name, sha256=sha256, kept=True)
        self._replay.load_state_dict(rows)

    def written(self) -> dict[int, str]:
        """Name of each chunk's newest file."""
        return {number: file.name for number, file in sorted(self._files.items())}

    def close(self) -> None:
        self._writer.shutdown()

    def _write(self, number: int, version: int, arrays: dict[str, Array]) -> None:
        """Either thread, one at a time."""
        data = serialise(arrays)
        sha256 = hashlib.sha256(data).hexdigest()
        name = f"replay-{number:06d}-{sha256[:NAME_DIGITS]}{BESIDE_SUFFIX}"
        self._directory.mkdir(parents=True, exist_ok=True)
        write_durably(self._directory / name, data)
        before = self._files.get(number)
        self._files[number] = _File(version=version, name=name, sha256=sha256)
        if before is not None and not before.kept and before.name != name:
            (self._directory / before.name).unlink(missing_ok=True)

    def _unwritten(self, numbers: NDArray[np.integer[Any]]) -> Iterator[tuple[int, int]]:
        """Those chunks of `numbers` whose newest version is in no file, each with that version."""
        versions = self._replay.chunk_versions()
        for number in numbers.tolist():
            file = self._files.get(number)
            if file is None or file.version != versions[number]:
                yield number, int(versions[number])

    def _await_writer(self) -> None:
        """What it failed to write is not remembered as written, and is tried again."""
        error = None if self._writing is None else self._writing.exception()
        self._writing = None
        if isinstance(error, OSError):
            self._refused = True
            _log.warning("replay_chunk_not_written", reason=error)
        elif error is not None:
            raise error
