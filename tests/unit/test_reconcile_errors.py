"""A reconcile that fails is counted by what could help, and made again."""

import kubernetes.client
import pytest

from stepstream_operator.controller.operator import Operator
from stepstream_operator.runtime.errors import ApiError, Unreachable
from tests.support.running_operator import quick_settings

FAILED = "stepstream_operator_reconcile_errors_total"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Unreachable("reset"), "temporary"),
        (ApiError(code=409, reason="Conflict", message="newer"), "temporary"),
        (ApiError(code=403, reason="Forbidden", message="no right"), "permanent"),
        (KeyError("metadata"), "defect"),
    ],
    ids=str,
)
def test_a_reconcile_that_fails_is_counted_by_its_kind_and_made_again(
    error: Exception, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(job: object) -> None:
        raise error

    operator = Operator(quick_settings("default"), lambda: kubernetes.client.Configuration(host="http://127.0.0.1:1"))
    monkeypatch.setattr(operator.reconciler, "reconcile", fails)
    operator._reconcile(("default", "pong"))
    assert operator.metrics.registry.get_sample_value(FAILED, {"kind": kind}) == 1
    assert operator.queue.get(5.0) == ("default", "pong")
