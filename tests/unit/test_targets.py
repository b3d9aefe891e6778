"""What a learner takes from a job that is edited while it runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from stepstream_trainer.config import TrainerConfig, to_mapping
from stepstream_trainer.config.trainer import StopWhenConfig
from stepstream_trainer.learner.recent_episodes import RecentEpisodes
from stepstream_trainer.learner.targets import REREAD_SECONDS, Targets
from tests.support.data_plane import CARTPOLE, config_of

CONFIG = replace(config_of(CARTPOLE), total_steps=1000)


class Job:
    """A job.json and the targets that a learner reads from it, with time in the test's hands."""

    def __init__(self, path: Path, config: TrainerConfig) -> None:
        self.path, self.now = path, 0.0
        self.told: list[TrainerConfig] = []
        self.write(config)
        self.targets = Targets(path, config, changed=self.told.append, clock=lambda: self.now)

    def write(self, config: TrainerConfig) -> None:
        """As the kubelet does: another file takes the name."""
        other = self.path.with_suffix(".new")
        other.write_text(json.dumps(to_mapping(config)))
        other.rename(self.path)

    def met(self, steps: int, *returns: float) -> bool:
        recent = RecentEpisodes(2)
        recent.add(returns, [1] * len(returns))
        self.targets.follow()
        return self.targets.met(steps, recent)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path / "job.json", CONFIG)


def test_a_job_is_done_when_its_steps_are_spent(job: Job) -> None:
    assert [job.met(999), job.met(1000)] == [False, True]


def test_a_wanted_return_is_judged_on_a_full_window(tmp_path: Path) -> None:
    job = Job(tmp_path / "job.json", replace(CONFIG, stop_when=StopWhenConfig(mean_return="10", episodes=2)))
    assert [job.met(1, 99.0), job.met(1, 9.0, 10.0), job.met(1, 9.0, 11.0)] == [False, False, True]


def test_an_edit_is_noticed_within_seconds_and_told(job: Job) -> None:
    job.write(replace(CONFIG, total_steps=2000, simulators=replace(CONFIG.simulators, replicas=3)))
    assert job.met(1000), "not looked at yet"
    job.now = REREAD_SECONDS
    assert not job.met(1000)
    assert [config.simulators.replicas for config in job.told] == [3]
    job.now *= 2
    assert not job.met(1000)
    assert len(job.told) == 1, "told once"


def test_an_edit_from_before_its_targets_were_read_is_noticed_too(job: Job) -> None:
    """The configuration is read as a learner starts; then it may wait for its simulators for hours."""
    job.write(replace(CONFIG, total_steps=2000))
    job.targets = Targets(job.path, CONFIG, changed=job.told.append, clock=lambda: job.now)
    job.now = REREAD_SECONDS
    assert not job.met(1000)
    assert [config.total_steps for config in job.told] == [2000]


@pytest.mark.parametrize("text", ["", "{", '{"totalSteps": -1}'])
def test_what_cannot_be_read_is_ignored(text: str, job: Job) -> None:
    job.path.write_text(text)
    job.now = REREAD_SECONDS
    assert not job.met(999)
    assert not job.told
