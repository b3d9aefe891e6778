"""The simulator's process: reads its environment variables, makes one environment to see what it is like, and serves.

With `--check` it only makes that environment: exit code 0, or 78 with the sentence that says what is wrong.
"""

import os
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from stepstream_trainer.config import ConfigurationErrors, TrainerConfig, contract, load_trainer_config
from stepstream_trainer.http import CannotListenError, Endpoints, HttpServer
from stepstream_trainer.leaving import leave
from stepstream_trainer.logs import configure_logs, get_log
from stepstream_trainer.metrics import new_registry
from stepstream_trainer.rows import Spaces
from stepstream_trainer.simulator.environments import EnvironmentRefusedError, make_batch
from stepstream_trainer.simulator.metrics import SimulatorMetrics
from stepstream_trainer.simulator.serving import RefusedByLearnerError, Simulator
from stepstream_trainer.simulator.streams import Endpoint

_log = get_log("simulator")

_TERMINATED = 128 + signal.SIGTERM


def main(arguments: list[str], environment: Mapping[str, str] = os.environ) -> int:
    configure_logs()
    # Nothing here is worth saving: another simulator rebuilds what this one played.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(_TERMINATED))
    with ExitStack() as closing:
        try:
            config = load_trainer_config(environment[contract.CONFIG])
            spaces = _spaces(config)
            if "--check" in arguments:
                return contract.EXIT_DONE
            simulator = prepare(config, spaces, environment, closing)
        except KeyError as error:
            return _refuse(f"the environment variable {error.args[0]} is not set")
        except (ConfigurationErrors, EnvironmentRefusedError, CannotListenError, OSError) as error:
            return _refuse(str(error))
        return serve(simulator)


def prepare(config: TrainerConfig, spaces: Spaces, environment: Mapping[str, str], closing: ExitStack) -> Simulator:
    """With its metrics and its state to be asked for. Raises KeyError, CannotListenError, OSError."""
    tls_directory = environment.get(contract.TLS_DIR)
    endpoint = Endpoint(
        target=environment[contract.LEARNER], tls_directory=Path(tls_directory) if tls_directory else None
    )
    registry = new_registry()
    simulator = Simulator(config, environment[contract.SIMULATOR], endpoint, spaces, SimulatorMetrics(registry))
    if contract.HTTP in environment:
        standing = simulator.standing
        http = HttpServer(
            environment[contract.HTTP],
            Endpoints(registry=registry, status=standing.status, healthy=standing.healthy, ready=standing.ready),
        )
        closing.callback(http.stop)
        http.start()
    return simulator


def serve(simulator: Simulator) -> int:
    """Until the job is over. What an environment raises on the way leaves with its traceback."""
    try:
        simulator.run()
    except (EnvironmentRefusedError, RefusedByLearnerError) as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return contract.EXIT_DONE


def _spaces(config: TrainerConfig) -> Spaces:
    probe = make_batch(config.environment, 1)
    probe.close()
    return probe.spaces


def _refuse(sentence: str) -> int:
    """The last line on standard error is the sentence: whoever started this process shows it."""
    _log.error("refused")
    print(" ".join(sentence.split()), file=sys.stderr)
    return contract.EXIT_INVALID


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
