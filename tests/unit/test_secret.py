"""The Secret with a job's certificates stays as it is while it serves; another's is not looked into."""

from __future__ import annotations

from datetime import timedelta

from stepstream_operator.children.manifest import Manifest
from stepstream_operator.controller.certificates import LIFETIME
from stepstream_operator.controller.secret import desired_secret
from stepstream_operator.plan import Gates, plan
from tests.support.jobs import NOW, make_job

FIRST, SECOND = make_job(), make_job(uid="of-the-second")


def secret_of_first() -> Manifest:
    secret = desired_secret(FIRST, 1, None, NOW)
    secret["metadata"]["uid"] = "s"
    return secret


def test_one_that_serves_stays_as_it_is() -> None:
    found = secret_of_first()
    assert desired_secret(FIRST, 1, found, NOW)["data"] == found["data"]
    assert plan(FIRST, [desired_secret(FIRST, 1, found, NOW)], [found], Gates()).is_empty


def test_certificates_are_new_with_each_attempt_and_before_they_expire_and_the_authority_stays() -> None:
    found = secret_of_first()
    for attempt, moment in ((2, NOW), (1, NOW + LIFETIME - timedelta(days=1))):
        renewed = desired_secret(FIRST, attempt, found, moment)["data"]
        assert renewed["ca.crt"] == found["data"]["ca.crt"]
        assert renewed["learner.crt"] != found["data"]["learner.crt"]


def test_that_of_an_earlier_job_of_the_name_lends_it_nothing_and_holds_it_back() -> None:
    found = secret_of_first()
    secret = desired_secret(SECOND, 1, found, NOW)
    assert not secret["data"].items() & found["data"].items()
    step = plan(SECOND, [secret], [found], Gates())
    assert step.is_empty
    assert step.problems == ("Secret pong-tls of an earlier job of this name is not gone yet",)
