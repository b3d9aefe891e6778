"""How the operator is told what to do: flags, or for each flag an environment variable."""

from __future__ import annotations

import argparse
import os
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stepstream_operator.children import Images

PREFIX = "STEPSTREAM_OPERATOR_"
LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, kw_only=True, slots=True)
class OperatorSettings:
    """`namespaces` empty means all of them. `lease_namespace` empty means: no election, this process acts alone."""

    namespaces: tuple[str, ...] = ()
    workers: int = 4
    lease_namespace: str = ""
    lease_name: str = "stepstream-operator"
    lease_seconds: float = 15.0
    identity: str = "operator"
    images: Images = field(default_factory=Images)
    tls: bool = True
    listen: str = "0.0.0.0:8080"
    log_level: str = "info"
    poll_seconds: float = 15.0
    scaling_rest_seconds: float = 60.0
    watch_read_timeout_seconds: float = 90.0


def parse_settings(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> OperatorSettings:
    """Raises SystemExit with argparse's message for what cannot be used."""
    given = _parser(environment).parse_args(arguments)
    return OperatorSettings(
        namespaces=tuple(given.watch_namespace or _listed(environment.get(PREFIX + "WATCH_NAMESPACES", ""))),
        workers=given.workers,
        lease_namespace=given.lease_namespace if given.leader_elect else "",
        lease_name=given.lease_name,
        identity=given.identity or f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}",
        images=Images(learner=given.learner_image, simulator=given.simulator_image),
        tls=given.tls,
        listen=given.listen,
        log_level=given.log_level,
    )


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stepstream_operator", description="The Stepstream operator.")

    def option(flag: str, default: str, text: str, kind: Callable[[str], Any] = str) -> None:
        variable = PREFIX + flag.upper().replace("-", "_")
        value = environment.get(variable, default)
        parser.add_argument(f"--{flag}", default=value, type=kind, help=f"{text} [{variable}; default {default!r}]")

    def switch(flag: str, default: bool, text: str) -> None:
        variable = PREFIX + flag.upper().replace("-", "_")
        value = environment.get(variable, str(default)).lower() in ("1", "true", "yes")
        action = argparse.BooleanOptionalAction
        parser.add_argument(f"--{flag}", default=value, action=action, help=f"{text} [{variable}]")

    images = Images()
    watched = f"a namespace to work in; repeatable, none means all [{PREFIX}WATCH_NAMESPACES, comma-separated]"
    parser.add_argument("--watch-namespace", action="append", metavar="NAMESPACE", help=watched)
    option("workers", "4", "jobs reconciled at the same time", _positive)
    option("learner-image", images.learner, "image of learners where a job names none")
    option("simulator-image", images.simulator, "image of simulators where a job names none")
    option("listen", "0.0.0.0:8080", "where /metrics, /healthz and /readyz are served")
    option("lease-namespace", environment.get("POD_NAMESPACE", "default"), "namespace of the Lease")
    option("lease-name", "stepstream-operator", "name of the Lease")
    option("identity", environment.get("POD_NAME", ""), "this process's name in the Lease")
    option("log-level", "info", f"one of {', '.join(LOG_LEVELS)}", _log_level)
    switch("leader-elect", False, "act only while holding the Lease")
    switch("tls", True, "encrypt and authenticate the streams of each job")
    return parser


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _log_level(text: str) -> str:
    if text.lower() not in LOG_LEVELS:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(LOG_LEVELS)}, got {text}")
    return text.lower()
