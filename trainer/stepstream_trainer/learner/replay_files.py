"""The replay beside the checkpoints: written a little at a time, so that a checkpoint writes only the rest.

The ring's chunks become files. A chunk that no slot writes any more stays as it is for a whole round of the ring, so it
is handed to a writing thread soon after it settled; a checkpoint itself then writes the few that are being filled.
A file's name holds its content's SHA-256: files are never changed, checkpoints share them, and attempts that went
different ways cannot take one for the other.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stepstream_trainer.learner.checkpoint import BESIDE_SUFFIX, State, as_arrays, deserialise, serialise, write_durably
from stepstream_trainer.learner.experience import Kept
from stepstream_trainer.replay import Replay
from stepstream_trainer.rows import Array

NAME_DIGITS = 24
"""Of the SHA-256 in a file's name: 96 bits. The manifest holds it whole."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _File:
    """What a chunk was when it was written."""

    version: int
    name: str
    sha256: str


class ReplayFiles:
    """Loop thread only; one thread of its own writes. Nothing but the newest `_File` of each chunk is remembered."""

    def __init__(self, replay: Replay, directory: Path) -> None:
        self._replay = replay
        self._directory = directory
        self._files: dict[int, _File] = {}
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="replay-writer")
        self._writing: Future[None] | None = None

    def write_behind(self) -> None:
        """Hand one chunk to the writer, if one has settled and the writer has nothing to do."""
        if self._writing is not None and not self._writing.done():
            return
        versions = self._replay.chunk_versions()
        for number in self._replay.settled_chunks().tolist():
            if self._version_written(number) != versions[number]:
                arrays = self._replay.read_chunk(number)
                self._writing = self._writer.submit(self._write, number, int(versions[number]), arrays)
                return

    def keep(self) -> Kept:
        """Write what is not yet written. Raises OSError when the disk refuses."""
        self._await_writer()
        versions = self._replay.chunk_versions()
        for number in np.flatnonzero(versions).tolist():
            if self._version_written(number) != versions[number]:
                self._write(number, int(versions[number]), self._replay.read_chunk(number))
        files = {file.name: file.sha256 for file in self._files.values()}
        return Kept(state={"replay": {"rows": self._replay.state_dict(), "chunks": self.written()}}, files=files)

    def restore(self, state: State) -> None:
        """Bring back what `keep` gave as the state's `replay`; the checkpoint's files were found whole."""
        rows = as_arrays(state["rows"])
        for number, name in state["chunks"].items():
            data = (self._directory / name).read_bytes()
            self._replay.write_chunk(number, as_arrays(deserialise(data)))
            sha256 = hashlib.sha256(data).hexdigest()
            self._files[number] = _File(version=int(rows["chunk_versions"][number]), name=name, sha256=sha256)
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
        self._files[number] = _File(version=version, name=name, sha256=sha256)

    def _version_written(self, number: int) -> int:
        file = self._files.get(number)
        return 0 if file is None else file.version

    def _await_writer(self) -> None:
        """What it failed to write is not remembered as written, and is tried again."""
        error = None if self._writing is None else self._writing.exception()
        self._writing = None
        if error is not None and not isinstance(error, OSError):
            raise error
