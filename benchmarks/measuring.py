"""Measures how often a function can be called, or runs a program that reports its cycles until its rate is told."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.timeline import Sample, Window, long_enough, parse, steps_per_second

ROOT = Path(__file__).parent.parent
END_SECONDS = 60.0


def leave_on_sigterm() -> None:
    """Let SIGTERM unwind this process like Ctrl-C, so that whatever it started is ended too."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def calls_per_second(work: Callable[[], object], seconds: float) -> float:
    """Two calls go by before counting begins."""
    work()
    work()
    calls, begin = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begin) < seconds:
        work()
        calls += 1
    return calls / elapsed


class MeasurementFailed(Exception):
    """The program ended early or was too slow; holds its last words."""


def measure(command: Sequence[str | Path], window: Window, *, limit_seconds: float) -> float:
    """Agent steps a second over `window`. Raises MeasurementFailed when `limit_seconds` go by before it is full."""
    with tempfile.TemporaryFile("w+") as errors:
        program = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
        )
        watchdog = threading.Timer(limit_seconds, _end, (program,))
        watchdog.start()
        try:
            samples = _collect(program, window)
        finally:
            watchdog.cancel()
            _end(program)
        errors.seek(0)
        return _rate(samples, window, errors.read())


def _collect(program: "subprocess.Popen[str]", window: Window) -> list[Sample]:
    assert program.stdout is not None
    samples: list[Sample] = []
    for line in program.stdout:
        sample = parse(line)
        if sample is not None:
            samples.append(sample)
            if long_enough(samples, window):
                break
    return samples


def _rate(samples: list[Sample], window: Window, errors: str) -> float:
    if not long_enough(samples, window):
        raise MeasurementFailed(f"{len(samples)} cycles were reported. {errors[-2000:]}")
    return steps_per_second(samples, window)


def _end(program: "subprocess.Popen[str]") -> None:
    """Ask the program to go, and end whatever is left of its session."""
    if program.poll() is None:
        program.send_signal(signal.SIGTERM)
        try:
            program.wait(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()
    try:
        os.killpg(program.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
