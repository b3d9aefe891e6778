"""Reading metrics.jsonl, the history that a learner writes: plain JSON lines, no torch needed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

METRICS_FILE = "metrics.jsonl"


def read_history(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines, oldest first. A line torn by a crash or a full disk is passed over."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for text in file:
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict) and isinstance(line.get("steps"), int):
                yield line
