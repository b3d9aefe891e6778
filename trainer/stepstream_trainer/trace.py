"""What the threads of a run's learners did lately, in one file that chrome://tracing and ui.perfetto.dev draw.

    python -m stepstream_trainer.trace RUN [--output trace.json]

Learners leave their newest spans in the run directory with every checkpoint and when they end.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stepstream_trainer.config import contract
from stepstream_trainer.history import TRACE_DIRECTORY


class NoTraceError(Exception):
    """The run has no trace; the message is one sentence for a person."""


def read_events(run: Path) -> list[dict[str, Any]]:
    """Of all learners. Raises NoTraceError."""
    files = sorted((run / TRACE_DIRECTORY).glob("learner-*.json"))
    if not files:
        raise NoTraceError(f"{run}: has no trace yet; learners write one with every checkpoint, and when they end")
    events: list[dict[str, Any]] = []
    for path in files:
        try:
            events += json.loads(path.read_text())["traceEvents"]
        except (OSError, ValueError, KeyError) as error:
            raise NoTraceError(f"{path}: cannot be read: {error}") from error
    return events


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="stepstream trace", description="Write what a run's threads did lately as a Chrome trace."
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: RUN/trace.json")
    options = parser.parse_args(arguments)
    output = options.output or options.run / "trace.json"
    try:
        events = read_events(options.run)
        output.write_text(json.dumps({"traceEvents": events}))
    except (NoTraceError, OSError) as error:
        print(f"stepstream trace: {error}", file=sys.stderr)
        return contract.EXIT_INVALID
    print(f"{output}: {len(events):,} events; open it in chrome://tracing or ui.perfetto.dev")
    return contract.EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
