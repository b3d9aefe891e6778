"""The simulator's process. `--check` only makes one environment, to say whether the job's can be made."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from prometheus_client import CollectorRegistry

from stepstream_trainer.config import ConfigurationErrors, contract, load_trainer_config
from stepstream_trainer.http import CannotListenError, Endpoints, HttpServer
from stepstream_trainer.logs import configure_logs, get_log
from stepstream_trainer.simulator.environments import EnvironmentRefusedError, make_batch
from stepstream_trainer.simulator.metrics import SimulatorMetrics
from stepstream_trainer.simulator.serving import Endpoint, RefusedByLearnerError, Simulator

_log = get_log("simulator")


def main(arguments: list[str]) -> int:
    configure_logs()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(contract.EXIT_DONE))  # nothing here is worth saving
    try:
        return run(check_only="--check" in arguments)
    except KeyError as error:
        return _refuse(f"the environment variable {error.args[0]} is not set")
    except (ConfigurationErrors, EnvironmentRefusedError, RefusedByLearnerError, CannotListenError, OSError) as error:
        return _refuse(str(error))


def run(*, check_only: bool) -> int:
    """Serve the job until it is over."""
    config = load_trainer_config(os.environ[contract.CONFIG])
    probe = make_batch(config.environment, 1)
    probe.close()
    if check_only:
        return contract.EXIT_DONE
    tls = os.environ.get(contract.TLS_DIR)
    endpoint = Endpoint(target=os.environ[contract.LEARNER], tls_directory=Path(tls) if tls else None)
    registry = CollectorRegistry()
    metrics = SimulatorMetrics(registry)
    with ExitStack() as closing:
        endpoints = Endpoints(registry=registry, status=dict, healthy=lambda: None, ready=lambda: None)
        http = HttpServer(os.environ[contract.HTTP], endpoints)
        http.start()
        closing.callback(http.stop)
        Simulator(config, os.environ[contract.SIMULATOR], endpoint, probe.spaces, metrics).run()
    return contract.EXIT_DONE


def _refuse(sentence: str) -> int:
    _log.error("refused", reason=sentence)
    print(sentence, file=sys.stderr)
    return contract.EXIT_INVALID


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
