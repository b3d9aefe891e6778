"""What a learner's threads did lately, moment by moment: the newest spans in memory, and now and then a file of them.

The file is in Chrome's trace event format (JSON object form: complete events, times in microseconds), which
chrome://tracing and ui.perfetto.dev draw. `stepstream trace` joins the files of all learners.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from stepstream_trainer.history import TRACE_DIRECTORY
from stepstream_trainer.logs import get_log

MOST_SPANS: Final = 20_000
"""Some ten seconds of a fast learner, and 2 MB of a file."""

_log = get_log("trace")


class Trace:
    """Spans of time with a name, by thread. Any thread."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock` is the same for all learners of a job: Unix seconds."""
        self._clock = clock
        self._spans: deque[tuple[str, str, float, float]] = deque(maxlen=MOST_SPANS)

    def span(self, name: str, seconds: float, *, thread: str | None = None) -> None:
        """`name` is what has just ended, after `seconds`; in this thread, unless another line of the picture is said.

        Appending to a deque is atomic.
        """
        self._spans.append((thread or threading.current_thread().name, name, self._clock() - seconds, seconds))

    def events(self, *, process: int, process_name: str) -> list[dict[str, Any]]:
        """The newest spans as trace events of one process."""
        spans = list(self._spans)
        threads = {name: number for number, name in enumerate(sorted({span[0] for span in spans}), start=1)}
        named = [_metadata("process_name", process, 0, process_name)]
        named += [_metadata("thread_name", process, number, name) for name, number in threads.items()]
        return named + [
            {"ph": "X", "pid": process, "tid": threads[thread], "name": name, "ts": begun * 1e6, "dur": seconds * 1e6}
            for thread, name, begun, seconds in spans
        ]


class TraceFile:
    """Where one learner leaves its trace."""

    def __init__(self, trace: Trace, run_directory: Path, *, rank: int) -> None:
        self._trace = trace
        self._path = run_directory / TRACE_DIRECTORY / f"learner-{rank}.json"
        self._rank = rank

    def write(self) -> None:
        """The newest spans, in place of earlier ones. A disk that refuses costs the file, and nothing else."""
        events = self._trace.events(process=self._rank, process_name=f"learner {self._rank}")
        partial = self._path.with_suffix(".partial")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps({"traceEvents": events}))
            partial.rename(self._path)
        except OSError as error:
            _log.warning("trace_not_written", reason=error)


def _metadata(kind: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "pid": process, "tid": thread, "name": kind, "args": {"name": name}}
