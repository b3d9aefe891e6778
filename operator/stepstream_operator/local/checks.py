"""Can the job's processes do their work here? Asked of them before anything starts; only they have what it takes.

A simulator makes one environment; a learner takes its port and reads the checkpoint that it would go on from.
"""

import importlib.util
import subprocess
from collections.abc import Sequence

from stepstream_operator.local.processes import ProcessSpec, local_command, run_environment
from stepstream_trainer.config import contract

TIMEOUT_SECONDS = 120.0
"""An environment of a user's own may load a model; the usual takes about a second."""


class ProcessRefusedError(Exception):
    """A process says that it cannot do its work; the message is its sentence."""


def check_installed(package: str, *, extra: str) -> None:
    """Raises ProcessRefusedError where a package that processes import is not there."""
    if importlib.util.find_spec(package) is None:
        raise ProcessRefusedError(f"{package} is not installed here: pip install 'stepstream[{extra}]'")


def check_processes(specs: Sequence[ProcessSpec]) -> None:
    """All at once, each with its own `--check`. Raises ProcessRefusedError with the first refusal, in their order."""
    running = [
        subprocess.Popen(
            (*local_command(spec.command), "--check"),
            env=run_environment(spec.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        for spec in specs
    ]
    try:
        for spec, process in zip(specs, running, strict=True):
            _hear(spec, process)
    finally:
        for process in running:
            process.kill()
            process.communicate()


def _hear(spec: ProcessSpec, process: "subprocess.Popen[str]") -> None:
    try:
        _, said = process.communicate(timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise ProcessRefusedError(f"{spec.name}: was not ready to start within {TIMEOUT_SECONDS:.0f} s") from error
    if process.returncode != contract.EXIT_DONE:
        raise ProcessRefusedError(_last_line(said) or f"{spec.name}: its check ended with {process.returncode}")


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
