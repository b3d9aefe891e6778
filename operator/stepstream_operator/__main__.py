"""`python -m stepstream_operator`: the operator as a process."""

import logging
import signal
import sys
import threading

from stepstream_operator.controller.operator import Operator, end_process_on_defects
from stepstream_operator.runtime.client import load_configuration
from stepstream_operator.settings import parse_settings
from stepstream_trainer.http import Endpoints, HttpServer
from stepstream_trainer.logs import configure_logs


def main() -> None:
    settings = parse_settings(sys.argv[1:])
    # JSON lines wherever the operator runs: what reads its log is a program.
    configure_logs(
        environment={"KUBERNETES_SERVICE_HOST": "any"}, level=logging.getLevelNamesMapping()[settings.log_level.upper()]
    )
    end_process_on_defects()
    operator = Operator(settings, load_configuration)
    endpoints = Endpoints(
        registry=operator.metrics.registry,
        status=lambda: {"identity": settings.identity, "leading": operator.leading, "synced": operator.synced},
        healthy=operator.unhealthy,
        ready=operator.unready,
    )
    http = HttpServer(settings.listen, endpoints)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    http.start()
    operator.start()
    stopped.wait()
    operator.stop()
    http.stop()


if __name__ == "__main__":
    main()
