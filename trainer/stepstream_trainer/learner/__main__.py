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

from stepstream_trainer.config import ConfigurationErrors, TrainerConfig, contract, load_trainer_config
from stepstream_trainer.http import CannotListenError
from stepstream_trainer.learner.assembly import Learner, Settings, UnsupportedJobError
from stepstream_trainer.learner.checkpoint import CheckpointError
from stepstream_trainer.learner.identity import OtherJobError
from stepstream_trainer.learner.loop import Outcome
from stepstream_trainer.logs import configure_logs, get_log
from stepstream_trainer.replay import ReplayTooLargeError, ReplayTooSmallError

_log = get_log("learner")


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Raises KeyError with the name of a variable that is missing."""
    tls, final_status = environment.get(contract.TLS_DIR), environment.get(contract.FINAL_STATUS)
    return Settings(
        config_path=Path(environment[contract.CONFIG]),
        run_directory=Path(environment[contract.RUN_DIR]),
        rank=int(environment.get(contract.RANK, "0")),
        attempt=int(environment.get(contract.ATTEMPT, "1")),
        listen=environment[contract.LISTEN],
        http=environment[contract.HTTP],
        tls_directory=Path(tls) if tls else None,
        final_status=Path(final_status) if final_status else None,
    )


def main(arguments: Sequence[str] = ()) -> int:
    configure_logs()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        settings = read_settings(os.environ)
        config = load_trainer_config(settings.config_path)
        return check(settings, config, stop) if "--check" in arguments else run(settings, config, stop)
    except KeyError as error:
        return _refuse(f"the environment variable {error.args[0]} is not set")
    except (ConfigurationErrors, UnsupportedJobError, OtherJobError, CheckpointError) as error:
        return _refuse(str(error))
    except (ReplayTooLargeError, ReplayTooSmallError) as error:
        return _refuse(str(error))
    except (CannotListenError, OSError) as error:
        return _refuse(str(error))


def run(settings: Settings, config: TrainerConfig, stop: threading.Event) -> int:
    """Train until the job is done (EXIT_DONE) or `stop` is set (EXIT_RESUME)."""
    with ExitStack() as closing:
        learner = Learner(settings, config, stop, closing)
        outcome = learner.run()
        return contract.EXIT_DONE if outcome is Outcome.FINISHED else contract.EXIT_RESUME


def check(settings: Settings, config: TrainerConfig, stop: threading.Event) -> int:
    """Raises what `run` would raise before the first simulator comes."""
    with ExitStack() as closing:
        Learner(settings, config, stop, closing).close()
    return contract.EXIT_DONE


def _refuse(sentence: str) -> int:
    _log.error("refused", reason=sentence)
    print(sentence, file=sys.stderr)  # the last line of a failed container's log is what its job's status says
    return contract.EXIT_INVALID


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
