"""A job's certificates: its own, new for each attempt, and renewed before they expire."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from stepstream_operator.controller import next_look
from stepstream_operator.controller.certificates import LIFETIME, RENEW_BEFORE, certificate_data, must_renew
from stepstream_operator.controller.operator import Operator
from stepstream_operator.runtime.resources import SECRETS
from tests.support.daemons import eventually
from tests.support.lives import run, settles, uids
from tests.support.running_operator import Cluster

pytestmark = [pytest.mark.control_plane, pytest.mark.usefixtures("operator")]


def secret(cluster: Cluster) -> dict[str, str]:
    return dict((cluster.admin.get(SECRETS, cluster.namespace, "pong-tls") or {}).get("data") or {})


def test_certificates_are_the_jobs_own_and_new_for_each_attempt(cluster: Cluster) -> None:
    run(cluster)
    first = secret(cluster)
    leaf = x509.load_pem_x509_certificate(base64.b64decode(first["learner.crt"]))
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(base64.b64decode(first["ca.crt"])))
    cluster.end_learners(1)
    eventually(lambda: cluster.status().attempt == 2, timeout_seconds=60, what="a second attempt")
    cluster.reaches("Running")
    second = secret(cluster)
    assert (first["ca.crt"] == second["ca.crt"], first["learner.crt"] == second["learner.crt"]) == (True, False)


def test_certificates_are_renewed_before_they_expire_while_the_learners_run(cluster: Cluster) -> None:
    run(cluster)
    before = uids(cluster.pods("learner"))
    nearly_over = certificate_data("u", datetime.now(UTC) - LIFETIME + RENEW_BEFORE / 2, secret(cluster))
    cluster.admin.merge(SECRETS, cluster.namespace, "pong-tls", {"data": nearly_over})
    eventually(lambda: not must_renew(secret(cluster), datetime.now(UTC)), timeout_seconds=60, what="they are renewed")
    assert secret(cluster)["ca.crt"] == nearly_over["ca.crt"]
    assert (uids(cluster.pods("learner")), cluster.status().attempt) == (before, 1)


def test_certificates_are_looked_at_now_and_then_though_nothing_happens(
    cluster: Cluster, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaf() -> str | None:
        return secret(cluster).get("learner.crt")

    monkeypatch.setattr(next_look, "CERTIFICATES_CHECK", timedelta(seconds=0.5))
    run(cluster)
    settles(cluster, operator)
    before, late = leaf(), datetime.now(UTC) + LIFETIME - RENEW_BEFORE / 2
    monkeypatch.setattr(operator.client.clock, "now", lambda: late)
    eventually(lambda: leaf() != before, timeout_seconds=30, what="they are renewed")
