"""Certificates of a job: who may speak to whom, and until when."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature

from stepstream_operator.controller.certificates import (
    LIFETIME,
    RENEW_BEFORE,
    certificate_data,
    expires_at,
    must_renew,
)

NOW = datetime(2031, 5, 1, tzinfo=UTC)


def data(job: str = "a", previous: dict[str, str] | None = None) -> dict[str, str]:
    return certificate_data(job, NOW, previous or {})


def certificate(files: dict[str, str], name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(base64.b64decode(files[name]))


def test_both_roles_are_vouched_for_by_the_jobs_own_authority() -> None:
    files = data()
    authority = certificate(files, "ca.crt")
    for role in ("learner", "simulator"):
        assert certificate(files, f"{role}.crt").issuer == authority.subject
        certificate(files, f"{role}.crt").verify_directly_issued_by(authority)


def test_another_jobs_certificate_is_not_vouched_for() -> None:
    ours, theirs = data("a"), data("b")
    with pytest.raises((InvalidSignature, ValueError)):
        certificate(theirs, "simulator.crt").verify_directly_issued_by(certificate(ours, "ca.crt"))


def test_a_renewal_keeps_the_authority_so_that_pods_with_older_files_are_understood() -> None:
    first = data()
    second = data(previous=first)
    assert (first["ca.crt"], first["learner.crt"]) != (first["ca.crt"], second["learner.crt"])
    certificate(first, "simulator.crt").verify_directly_issued_by(certificate(second, "ca.crt"))


def test_renewal_is_due_a_month_before_the_end() -> None:
    files = data()
    end = expires_at(files)
    assert end == NOW + LIFETIME
    assert not must_renew(files, end - RENEW_BEFORE - timedelta(seconds=1))
    assert must_renew(files, end - RENEW_BEFORE)


@pytest.mark.parametrize("broken", ["learner.crt", "simulator.crt", "ca.key"])
def test_files_that_cannot_be_read_are_made_anew(broken: str) -> None:
    assert must_renew(data() | {broken: "bm9uc2Vuc2U="}, NOW)


@pytest.mark.parametrize("foreign", ["ca.crt", "ca.key", "learner.crt", "learner.key", "ca.", "learner.", "simulator."])
def test_so_are_files_that_can_be_read_but_do_not_fit_the_others(foreign: str) -> None:
    files = data() | {name: text for name, text in data("b").items() if name.startswith(foreign)}
    assert must_renew(files, NOW)
    assert not must_renew(data(previous=files), NOW)


def test_so_are_those_of_one_role_in_the_place_of_the_others() -> None:
    files = data()
    swapped = {f"learner.{end}": files[f"simulator.{end}"] for end in ("crt", "key")}
    assert must_renew(files | swapped, NOW)
