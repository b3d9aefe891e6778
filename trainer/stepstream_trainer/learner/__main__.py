"""The learner's process: builds the parts, lets the loop run, closes them.

With `--check` it only listens and reads the checkpoint it would go on from: exit code 0, or 78 with what is wrong.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from stepstream_trainer.algorithms.descent import DivergedError
from stepstream_trainer.config import ConfigurationErrors, contract, load_trainer_config
from stepstream_trainer.http import CannotListenError
from stepstream_trainer.learner.assembly import Learner, Settings
from stepstream_trainer.learner.board import BoardError, RankLostError
from stepstream_trainer.learner.checkpoint import CheckpointError
from stepstream_trainer.learner.handshakes import RefusedHandshakes
from stepstream_trainer.learner.identity import OtherJobError
from stepstream_trainer.learner.loop import Outcome
from stepstream_trainer.leaving import leave
from stepstream_trainer.logs import configure_logs, get_log
from stepstream_trainer.replay import ReplayTooLargeError, ReplayTooSmallError

_log = get_log("learner")

REPLAY_ERRORS = (ReplayTooLargeError, ReplayTooSmallError)
WRONG_INPUT = (
    ConfigurationErrors,
    OtherJobError,
    CheckpointError,
    CannotListenError,
    *REPLAY_ERRORS,
    OSError,
)
"""What a learner raises before it trains, besides the KeyError of a missing variable."""


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Raises KeyError with the name of a variable that is missing."""
    tls, final_status = environment.get(contract.TLS_DIR), environment.get(contract.FINAL_STATUS)
    return Settings(
        config_path=Path(environment[contract.CONFIG]),
        run_directory=Path(environment[contract.RUN_DIR]),
        rank=int(environment.get(contract.RANK, "0")),
        attempt=int(environment.get(contract.ATTEMPT, "1")),
        world_size=int(environment.get(contract.WORLD_SIZE, "1")),
        rendezvous=environment.get(contract.RENDEZVOUS, ""),
        listen=environment[contract.LISTEN],
        http=environment[contract.HTTP],
        tls_directory=Path(tls) if tls else None,
        final_status=Path(final_status) if final_status else None,
    )


def main(arguments: Sequence[str] = ()) -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as closing:
        handshakes = closing.enter_context(RefusedHandshakes()) if contract.TLS_DIR in os.environ else None
        configure_logs()
        try:
            learner = prepare(stop, closing)
        except KeyError as error:
            return _refuse(f"the environment variable {error.args[0]} is not set")
        except WRONG_INPUT as error:
            return _refuse(str(error))
        if handshakes is not None:
            handshakes.tell = learner.metrics.handshake_refused
        if "--check" in arguments:
            learner.close()
            return contract.EXIT_DONE
        return run(learner)


def prepare(stop: threading.Event, closing: ExitStack) -> Learner:
    """A learner that listens. Whatever it raises is wrong input, which no further attempt would mend."""
    settings = read_settings(os.environ)
    return Learner(settings, load_trainer_config(settings.config_path), stop, closing)


def run(learner: Learner) -> int:
    """Train until the job is done (EXIT_DONE) or the process is asked to stop (EXIT_RESUME).

    What fails on the way is no wrong input, and leaves with its traceback: all but a replay that does not fit what the
    first simulator says its observations are. A learner that lost another is not the one that failed (EXIT_RESUME). One
    that diverged saves nothing more: the job may go on from its newest checkpoint.
    """
    try:
        return contract.EXIT_DONE if learner.run() is Outcome.FINISHED else contract.EXIT_RESUME
    except REPLAY_ERRORS as error:
        return _refuse(str(error))
    except RankLostError as error:
        return _leave(contract.EXIT_RESUME, "learner_lost", error)
    except BoardError as error:
        return _leave(contract.EXIT_FAILED, "learners_apart", error)
    except DivergedError as error:
        return _leave(contract.EXIT_FAILED, "diverged", error)


def _leave(code: int, event: str, error: Exception) -> int:
    _log.error(event, reason=error)
    print(error, file=sys.stderr)
    return code


def _refuse(sentence: str) -> int:
    _log.error("refused", reason=sentence)
    print(sentence, file=sys.stderr)  # the last line of a failed container's log is what its job's status says
    return contract.EXIT_INVALID


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
