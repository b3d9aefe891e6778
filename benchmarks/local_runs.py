"""One `stepstream run` of a small job, watched from outside until it ends: what it made, how fast, and by how much."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.run_stepstream import free_port
from stepstream_trainer.learner.metric_catalogue import POLICY_LAG

POLL_SECONDS = 0.5
LIMIT_SECONDS = 600.0
_BUCKET = re.compile(rf'^{POLICY_LAG.name}_bucket{{le="([^"]+)"}} (\S+)$', re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What a run was like. None where there is nothing to tell."""

    steps: int
    steps_per_second: float
    """As its history has it."""
    episode_return: float | None
    """Mean of the last episodes, true scores."""
    policy_lag_median: float | None
    policy_lag_p99: float | None
    """Updates, of rank 0; upper ends of the histogram's buckets."""
    cores_used: float
    """Processor seconds of all its processes, start and end included, over its seconds."""
    mode: str
    """That it ended in."""


def run(job: Mapping[str, Any]) -> Run:
    """Train `job`, a TrainingJob's spec, on this machine to its end. Raises RuntimeError when that is a bad one."""
    with tempfile.TemporaryDirectory(prefix="stepstream-run-") as folder:
        path, directory, port = Path(folder, "job.yaml"), Path(folder, "run"), free_port()
        path.write_text(yaml.safe_dump(_manifest(job)))
        stepstream = Path(sys.executable).with_name("stepstream")
        command = [str(word) for word in (stepstream, "run", path, "--run-dir", directory, "--http-port", port)]
        began = time.monotonic()
        with Path(folder, "output").open("w+") as output:
            runner = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder)
            watchdog = threading.Timer(LIMIT_SECONDS, runner.terminate)
            watchdog.start()
            lags = _watch(runner, port)
            _, status, usage = os.wait4(runner.pid, 0)
            watchdog.cancel()
            seconds = time.monotonic() - began
            if status != 0:
                output.seek(0)
                raise RuntimeError(f"stepstream run ended with {status}: {output.read()[-2000:]}")
        lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
        final = json.loads((directory / "final-status.json").read_text())
    return Run(
        steps=lines[-1]["steps"],
        steps_per_second=_rate(lines),
        episode_return=lines[-1]["episodeReturn"],
        policy_lag_median=_quantile(lags, 0.5),
        policy_lag_p99=_quantile(lags, 0.99),
        cores_used=(usage.ru_utime + usage.ru_stime) / seconds,
        mode=final["mode"],
    )


def _manifest(spec: Mapping[str, Any]) -> dict[str, Any]:
    head = {"apiVersion": "stepstream.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": "benchmark"}}
    return {**head, "spec": dict(spec)}


def _watch(runner: subprocess.Popen[bytes], port: int) -> dict[float, float]:
    """The histogram of policy lag as it was last seen, until the runner has ended (but is not yet waited for)."""
    seen: dict[float, float] = {}
    while os.waitid(os.P_PID, runner.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                seen = {float(le): float(count) for le, count in _BUCKET.findall(answer.read().decode())} or seen
        except (urllib.error.URLError, OSError):
            pass  # not there yet, or not any more
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
