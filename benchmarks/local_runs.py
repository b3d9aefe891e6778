"""One `stepstream run` of a small job, watched from outside: what it made, how fast, and by how much."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.measuring import ROOT
from benchmarks.run_stepstream import free_port
from stepstream_operator.local.ending import EXIT_OK, EXIT_PAUSED
from stepstream_trainer.learner.metric_catalogue import POLICY_LAG

POLL_SECONDS = 0.5
LIMIT_SECONDS = 600.0
_BUCKET = re.compile(rf'^{POLICY_LAG.name}_bucket{{le="([^"]+)"}} (\S+)$', re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What a run was like. None where there is nothing to tell."""

    steps: int
    steps_per_second: float
    """Mean of its history's lines."""
    late_steps_per_second: float
    """Mean of all lines but the first; of one line, that."""
    episode_return: float | None
    """Mean of the last episodes, true scores."""
    policy_lag_median: float | None
    policy_lag_p99: float | None
    """Updates, of rank 0; upper ends of the histogram's buckets."""
    cores_used: float
    """Processor seconds of all its processes, start and end included, over its seconds."""
    mode: str
    """That it ended in."""
    decision: Mapping[str, Any] | None
    """Of mode Auto, as the job's status has it."""


Enough = Callable[[Path], bool]
"""Whether a run, of this directory, has gone on for long enough."""


def run(job: Mapping[str, Any], enough: Enough = lambda _: False) -> Run:
    """Train `job`, a TrainingJob's spec, on this machine until it ends, or until that is enough.

    Raises RuntimeError when it ends badly.
    """
    with tempfile.TemporaryDirectory(prefix="stepstream-run-") as folder:
        path, directory, port = Path(folder, "job.yaml"), Path(folder, "run"), free_port()
        path.write_text(yaml.safe_dump(_manifest(job)))
        stepstream = Path(sys.executable).with_name("stepstream")
        command = [str(word) for word in (stepstream, "run", path, "--run-dir", directory, "--http-port", port)]
        began = time.monotonic()
        with Path(folder, "output").open("w+") as output:
            runner = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder, env=_environment())
            watchdog = threading.Timer(LIMIT_SECONDS, runner.terminate)
            watchdog.start()
            lags = _watch(runner, port, lambda: enough(directory))
            _, status, usage = os.wait4(runner.pid, 0)
            watchdog.cancel()
            seconds = time.monotonic() - began
            if os.waitstatus_to_exitcode(status) not in (EXIT_OK, EXIT_PAUSED):
                output.seek(0)
                raise RuntimeError(f"stepstream run ended with {status}: {output.read()[-2000:]}")
        lines = history(directory)
        told = json.loads((directory / "state.json").read_text())["status"]
    return Run(
        steps=lines[-1]["steps"],
        steps_per_second=_rate(lines),
        late_steps_per_second=_rate(lines[1:] or lines),
        episode_return=lines[-1]["episodeReturn"],
        policy_lag_median=_quantile(lags, 0.5),
        policy_lag_p99=_quantile(lags, 0.99),
        cores_used=(usage.ru_utime + usage.ru_stime) / seconds,
        mode=told["mode"],
        decision=told.get("modeDecision"),
    )


def history(directory: Path) -> list[dict[str, Any]]:
    """Of a run: the lines of its metrics.jsonl."""
    path = directory / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _environment() -> dict[str, str]:
    """Simulators find environments of this folder."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def _manifest(spec: Mapping[str, Any]) -> dict[str, Any]:
    head = {"apiVersion": "stepstream.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": "benchmark"}}
    return {**head, "spec": dict(spec)}


def _watch(runner: subprocess.Popen[bytes], port: int, enough: Callable[[], bool]) -> dict[float, float]:
    """The histogram of policy lag as it was last seen, until the runner has ended (but is not yet waited for)."""
    seen: dict[float, float] = {}
    asked = False
    while os.waitid(os.P_PID, runner.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                seen = {float(le): float(count) for le, count in _BUCKET.findall(answer.read().decode())} or seen
        except (urllib.error.URLError, OSError):
            pass  # not there yet, or not any more
        if not asked and enough():
            asked = True
            runner.send_signal(signal.SIGINT)
        time.sleep(POLL_SECONDS)
    return seen


def _rate(lines: list[dict[str, Any]]) -> float:
    """Mean of the learner's own figures, one every five seconds."""
    rates = [line["stepsPerSecond"] for line in lines]
    return float(sum(rates) / len(rates))


def _quantile(buckets: Mapping[float, float], fraction: float) -> float | None:
    """Of cumulative counts by upper end."""
    total = max(buckets.values(), default=0.0)
    return min((le for le, count in buckets.items() if total and count >= fraction * total), default=None)
