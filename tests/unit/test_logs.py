"""Structured logs: JSON in a pod, text elsewhere."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from stepstream_trainer.logs import configure_logs, get_log

IN_A_POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger("stepstream")
    before = root.handlers, root.level, root.propagate
    yield
    root.handlers, root.level, root.propagate = before


def logged(environment: dict[str, str], event: str, **fields: object) -> str:
    stream = io.StringIO()
    configure_logs(stream=stream, environment=environment)
    get_log("learner").warning(event, **fields)
    return stream.getvalue()


def test_a_pod_logs_one_json_object_a_line() -> None:
    line = json.loads(logged(IN_A_POD, "checkpoint_failed", step=3, reason="disk full"))
    assert line.pop("time").endswith("+00:00")
    expected = {"level": "warning", "source": "learner", "event": "checkpoint_failed", "step": 3, "reason": "disk full"}
    assert line == expected


def test_elsewhere_a_line_is_readable_and_quotes_what_holds_spaces() -> None:
    text = logged({}, "checkpoint_failed", step=3, seconds=0.123456789, reason="disk full")
    assert text[9:] == 'warning checkpoint_failed step=3 seconds=0.123457 reason="disk full"\n'


@pytest.mark.parametrize("environment", [{}, IN_A_POD])
def test_an_exception_keeps_its_traceback(environment: dict[str, str]) -> None:
    stream = io.StringIO()
    configure_logs(stream=stream, environment=environment)
    try:
        raise ValueError("odd")
    except ValueError:
        get_log("learner").exception("failed")
    assert "ValueError: odd" in stream.getvalue()
