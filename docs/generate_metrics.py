"""Writes docs/metrics.md."""

from pathlib import Path

from stepstream_operator.metrics import CATALOGUE as OPERATOR
from stepstream_trainer.metrics_docs import render

if __name__ == "__main__":
    (Path(__file__).parent / "metrics.md").write_text(render(OPERATOR), encoding="utf-8")
