"""TensorBoard event files, written in the caller's thread.

TensorBoard's own writer keeps a thread for the disk: after one error every later call fails, the last one blocks,
and nothing is written again. Here an error is the caller's to see, and the next call begins a new file.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

_FILE_VERSION = "brain.Event:2"  # what readers demand of a file's first record


class TensorBoardFile:
    """Appends scalars to event files in `directory`. One thread at a time."""

    def __init__(self, directory: Path, *, forget_from: int) -> None:
        """Readers drop what older files in `directory` hold at steps of `forget_from` and more. No file is made yet."""
        self._directory = directory
        self._forget_from: int | None = forget_from
        self._records: RecordWriter | None = None

    def add(self, scalars: Mapping[str, float], *, step: int, unix_time: float) -> None:
        """Write the scalars of one step through to the disk. Raises OSError: they are lost and the file is left."""
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        try:
            if self._records is None:
                self._records = self._begin(unix_time)
            self._records.write(_encode(Event(wall_time=unix_time, step=step, summary=Summary(value=values))))
            self._records.flush()
        except OSError:
            with suppress(OSError):
                self.close()
            raise

    def close(self) -> None:
        """Raises OSError when the last bytes cannot be written; closed it is all the same."""
        if self._records is not None:
            records, self._records = self._records, None
            records.close()

    def _begin(self, unix_time: float) -> RecordWriter:
        self._directory.mkdir(parents=True, exist_ok=True)
        records = RecordWriter((self._directory / self._name(unix_time)).open("xb"))
        records.write(_encode(Event(wall_time=unix_time, file_version=_FILE_VERSION)))
        if self._forget_from is not None:
            start = SessionLog(status=SessionLog.START)
            records.write(_encode(Event(wall_time=unix_time, step=self._forget_from, session_log=start)))
            self._forget_from = None
        return records

    def _name(self, unix_time: float) -> str:
        """Readers know event files by `tfevents` and take them in alphabetical order, hence time first, then number."""
        number = sum(1 for _ in self._directory.iterdir())
        return f"events.out.tfevents.{unix_time:017.6f}.{number:04}.{socket.gethostname()}.{os.getpid()}"


def _encode(event: Event) -> bytes:
    data: bytes = event.SerializeToString()
    return data
