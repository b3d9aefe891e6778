"""Can the job's environment be made here? Asked of a simulator before anything starts; only it has what it takes."""

import subprocess

from stepstream_operator.local.processes import ProcessSpec, local_command, run_environment
from stepstream_trainer.config import contract

TIMEOUT_SECONDS = 120.0
"""An environment of a user's own may load a model; the usual takes about a second."""


class EnvironmentRefusedError(Exception):
    """The environment cannot be made or is of a kind that is not supported; the message is one sentence."""


def check_environment(simulator: ProcessSpec) -> None:
    """Raises EnvironmentRefusedError."""
    try:
        answer = subprocess.run(
            (*local_command(simulator.command), "--check"),
            env=run_environment(simulator.environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise EnvironmentRefusedError(f"spec.environment: could not be made within {TIMEOUT_SECONDS:.0f} s") from error
    if answer.returncode != contract.EXIT_DONE:
        raise EnvironmentRefusedError(_last_line(answer.stderr) or f"spec.environment: {answer.args} failed silently")


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
