"""Who is asked, before a run begins, whether it could do its work."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import pytest

from stepstream_operator.local import runner
from stepstream_operator.local.checks import ProcessRefusedError, check_installed
from stepstream_operator.local.processes import ProcessSpec
from stepstream_operator.local.runner import RunOptions, check_job
from stepstream_trainer.config import contract
from tests.support.local_parts import make_job, make_run

TWO_LEARNERS = "spec.learners.replicas=2"
DQN = "spec.algorithm={name: DQN}"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[ProcessSpec]:
    found: list[ProcessSpec] = []

    def keep(specs: Sequence[ProcessSpec]) -> None:
        found.extend(specs)

    monkeypatch.setattr(runner, "check_processes", keep)
    return found


@pytest.mark.parametrize(
    ("overrides", "options", "names"),
    [
        ((TWO_LEARNERS,), RunOptions(job_file=""), ["simulator-0"]),
        ((DQN,), RunOptions(job_file=""), ["simulator-0", "learner-0"]),
        ((TWO_LEARNERS,), RunOptions(job_file="", http_port=7000), ["simulator-0", "learner-0", "learner-1"]),
        ((TWO_LEARNERS,), RunOptions(job_file="", stream_port=7000), ["simulator-0", "learner-0", "learner-1"]),
    ],
    ids=["nothing", "a replay", "ports of /metrics", "ports of streams"],
)
def test_a_learner_is_asked_where_it_has_something_to_refuse(
    overrides: tuple[str, ...], options: RunOptions, names: list[str], asked: list[ProcessSpec], tmp_path: Path
) -> None:
    check_job(make_job(tmp_path, *overrides), options, goes_on_in=None)
    assert [spec.name.removeprefix("cart-") for spec in asked] == names


def test_the_first_learner_is_asked_about_the_checkpoint_that_it_would_go_on_from(
    asked: list[ProcessSpec], tmp_path: Path
) -> None:
    job = make_job(tmp_path, TWO_LEARNERS)
    run = make_run(tmp_path, job)
    check_job(job, RunOptions(job_file=""), goes_on_in=run)
    assert [spec.name for spec in asked] == ["cart-simulator-0", "cart-learner-0"]
    assert asked[1].environment[contract.RUN_DIR] == str(run.path)


def test_a_package_that_is_not_there_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ProcessRefusedError, match=r"torch is not installed here: pip install 'stepstream\[learner\]'"):
        check_installed("torch", extra="learner")
