"""Structured logs: an event's name and its fields. One JSON object a line in a pod, readable text anywhere else.

    log = get_log("learner")
    log.info("checkpoint_written", step=120_000, seconds=0.41)

Event names are snake_case and fixed (a log search finds them); what varies goes into fields.
"""

import json
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

_ROOT = "stepstream"
_IN_A_POD = "KUBERNETES_SERVICE_HOST"  # set by the kubelet in every container


class Log:
    """A named source of events. Cheap to call when the level is off."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, event: str, **fields: object) -> None:
        self._logger.debug(event, extra={"fields": fields})

    def info(self, event: str, **fields: object) -> None:
        self._logger.info(event, extra={"fields": fields})

    def warning(self, event: str, **fields: object) -> None:
        self._logger.warning(event, extra={"fields": fields})

    def error(self, event: str, **fields: object) -> None:
        self._logger.error(event, extra={"fields": fields})

    def exception(self, event: str, **fields: object) -> None:
        """An error with the traceback of the exception being handled."""
        self._logger.exception(event, extra={"fields": fields})


def get_log(name: str) -> Log:
    return Log(logging.getLogger(f"{_ROOT}.{name}"))


def configure_logs(
    *, stream: TextIO | None = None, environment: Mapping[str, str] = os.environ, level: int = logging.INFO
) -> None:
    """Once, where a process begins. `stream` is the standard error of that moment, unless it is given."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_JsonLine() if _IN_A_POD in environment else _TextLine())
    root = logging.getLogger(_ROOT)
    root.handlers = [handler]
    root.setLevel(level)
    root.propagate = False


class _JsonLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "source": record.name.removeprefix(f"{_ROOT}."),
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class _TextLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={_readable(value)}" for name, value in _fields(record).items())
        line = f"{_time(record):%H:%M:%S} {record.levelname.lower():7} {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = record.__dict__.get("fields", {})
    return fields


def _readable(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if " " in text or not text else text
