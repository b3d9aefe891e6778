"""Logs of what is done for a job: every line names the job and its attempt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from stepstream_operator.runtime.store import Key
from stepstream_trainer.logs import get_log

_job: ContextVar[dict[str, object] | None] = ContextVar("job", default=None)


@contextmanager
def about(job: Key, attempt: int) -> Iterator[None]:
    """Lines written by this thread within are about this job."""
    token = _job.set({"namespace": job[0], "job": job[1], "attempt": attempt})
    try:
        yield
    finally:
        _job.reset(token)


class JobLog:
    """As stepstream_trainer.logs.Log."""

    def __init__(self, name: str) -> None:
        self._log = get_log(name)

    def debug(self, event: str, **fields: object) -> None:
        self._log.debug(event, **((_job.get() or {}) | fields))

    def info(self, event: str, **fields: object) -> None:
        self._log.info(event, **((_job.get() or {}) | fields))

    def warning(self, event: str, **fields: object) -> None:
        self._log.warning(event, **((_job.get() or {}) | fields))

    def exception(self, event: str, **fields: object) -> None:
        self._log.exception(event, **((_job.get() or {}) | fields))
