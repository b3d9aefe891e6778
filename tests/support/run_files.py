"""What a job leaves in its directory: its history, and its checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stepstream_trainer.history import METRICS_FILE, read_history


def history_of(directory: Path) -> list[dict[str, Any]]:
    """The whole lines of metrics.jsonl; none where there is no such file yet."""
    path = directory / METRICS_FILE
    return list(read_history(path)) if path.exists() else []


def newest_checkpoint(directory: Path) -> int:
    """Its steps; 0 where there is none."""
    manifests = (directory / "checkpoints").glob("checkpoint-*.json")
    return max((int(path.stem.rsplit("-", 1)[1]) for path in manifests), default=0)
