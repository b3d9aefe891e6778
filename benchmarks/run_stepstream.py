"""Stepstream on Pong with the common settings, as a user would run it; ended by whoever measures.

    python -m benchmarks.run_stepstream --algorithm PPO --environments 16

`stepstream run` in a directory of its own: a learner and a simulator as processes, gRPC between them, metrics and
history written. The learner's update counter, read from its /metrics, tells when a cycle has ended.
"""

import argparse
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from benchmarks.jobs import PARAMETERS, trainer_config, write_job
from benchmarks.measuring import leave_on_sigterm
from benchmarks.settings import SETTINGS
from benchmarks.timeline import report
from stepstream_trainer.config import PolicyGradientParameters
from stepstream_trainer.learner.metric_catalogue import UPDATES

POLL_SECONDS = 0.25
"""Reading the counter costs a few milliseconds of CPU; this keeps it far below a hundredth of the machine."""
_COUNTER = re.compile(rf"^{UPDATES.name} (\S+)$", re.MULTILINE)


def updates_made(port: int) -> int:
    """The learner's counter; 0 while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            found = _COUNTER.search(answer.read().decode())
    except (urllib.error.URLError, OSError):
        return 0
    return int(float(found[1])) if found else 0


def steps_per_update(algorithm: str, environments: int) -> int:
    """Beyond the first ones: for DQN those until learning starts."""
    parameters = trainer_config(algorithm, environments).algorithm.parameters
    if isinstance(parameters, PolicyGradientParameters):
        return parameters.horizon * environments
    return SETTINGS.dqn_train_every


def watch(runner: subprocess.Popen[bytes], port: int, steps: int) -> None:
    """Report every change of the counter until the runner ends."""
    reported = 0
    while runner.poll() is None:
        updates = updates_made(port)
        if updates > reported:
            report(updates * steps)
        reported = updates
        time.sleep(POLL_SECONDS)
    raise SystemExit(f"stepstream run ended with {runner.returncode}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algorithm", choices=tuple(PARAMETERS), required=True)
    parser.add_argument("--environments", type=int, required=True)
    arguments = parser.parse_args()
    leave_on_sigterm()
    port, steps = free_port(), steps_per_update(arguments.algorithm, arguments.environments)
    with tempfile.TemporaryDirectory(prefix="stepstream-benchmark-") as folder:
        write_job(job := Path(folder, "job.yaml"), arguments.algorithm, arguments.environments)
        stepstream = Path(sys.executable).with_name("stepstream")
        command = [
            str(word) for word in (stepstream, "run", job, "--run-dir", Path(folder, "run"), "--http-port", port)
        ]
        runner = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            watch(runner, port, steps)
        finally:
            runner.send_signal(signal.SIGINT)
            runner.wait(timeout=60)


if __name__ == "__main__":
    main()
