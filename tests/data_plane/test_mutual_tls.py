"""Only a job's own simulators reach its learner, and they speak to nobody else: with the operator's certificates."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepstream_trainer.config import contract
from tests.support.certificates import mount, new_certificates
from tests.support.data_plane import CARTPOLE, DataPlane, config_of, data_plane, wait_until

CONFIG = config_of(CARTPOLE)
Mounted = dict[str, Path]


@pytest.fixture
def ours(tmp_path: Path) -> Mounted:
    return mount(new_certificates(), tmp_path / "ours")


@pytest.fixture
def theirs(tmp_path: Path) -> Mounted:
    return mount(new_certificates("theirs"), tmp_path / "theirs")


def start(plane: DataPlane, name: str, certificates: Path | None) -> None:
    plane.simulators.start(name, **({contract.TLS_DIR: str(certificates)} if certificates else {}))


def is_kept_out(plane: DataPlane, name: str) -> None:
    """It tries again and again, and the learner hears nothing of it."""
    log = plane.simulators.log_path(name)
    wait_until(lambda: log.read_text().count("learner_unreachable") >= 2, "two attempts")
    assert plane.learner.server.service().simulators == 0
    assert plane.learner.server.slots(timeout_seconds=0) is None
    assert plane.simulators.processes[name].poll() is None


def test_a_jobs_own_simulator_is_served(ours: Mounted) -> None:
    with data_plane(CONFIG, tls_directory=ours["learner"]) as plane:
        start(plane, "a", ours["simulator"])
        plane.learner.play(5)
        assert plane.learner.server.service().simulators == 1


def test_another_jobs_simulator_is_not_heard(ours: Mounted, theirs: Mounted) -> None:
    with data_plane(CONFIG, tls_directory=ours["learner"]) as plane:
        start(plane, "stranger", theirs["simulator"])
        is_kept_out(plane, "stranger")


def test_a_simulator_without_a_certificate_is_not_heard(ours: Mounted) -> None:
    with data_plane(CONFIG, tls_directory=ours["learner"]) as plane:
        start(plane, "nobody", None)
        is_kept_out(plane, "nobody")


def test_a_simulator_does_not_speak_to_another_jobs_learner(ours: Mounted, theirs: Mounted) -> None:
    with data_plane(CONFIG, tls_directory=theirs["learner"]) as plane:
        start(plane, "a", ours["simulator"])
        is_kept_out(plane, "a")


def test_a_simulators_certificate_does_not_make_a_learner(ours: Mounted) -> None:
    with data_plane(CONFIG, tls_directory=ours["simulator"]) as plane:
        start(plane, "a", ours["simulator"])
        is_kept_out(plane, "a")


def test_a_simulator_does_not_speak_to_a_learner_without_a_certificate(ours: Mounted) -> None:
    with data_plane(CONFIG) as plane:
        start(plane, "a", ours["simulator"])
        is_kept_out(plane, "a")


def test_a_running_learner_takes_up_renewed_certificates(ours: Mounted, tmp_path: Path) -> None:
    with data_plane(CONFIG, tls_directory=ours["learner"]) as plane:
        renewed = new_certificates("renewed")
        mount(renewed, tmp_path / "ours")
        start(plane, "a", mount(renewed, tmp_path / "renewed")["simulator"])
        plane.learner.play(5)
        assert plane.learner.server.service().simulators == 1


def test_certificates_that_cannot_be_read_for_a_moment_cost_nothing(ours: Mounted) -> None:
    with data_plane(CONFIG, tls_directory=ours["learner"]) as plane:
        (ours["learner"] / "tls.crt").unlink()
        start(plane, "a", ours["simulator"])
        plane.learner.play(5)
        assert plane.learner.server.service().simulators == 1
