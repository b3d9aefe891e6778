"""Reading metrics.jsonl, the history that a learner writes: plain JSON lines, no torch needed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

METRICS_FILE = "metrics.jsonl"
TRACE_DIRECTORY = "trace"
"""Where each learner leaves what its threads did lately."""


def read_history(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines, oldest first. A line torn by a crash or a full disk is passed over."""
    with path.open("rb") as file:
        for text in file:
            if (line := as_line(text)) is not None:
                yield line


def as_line(text: bytes) -> dict[str, Any] | None:
    """None for what is no line of a history."""
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and isinstance(line.get("steps"), int) else None
