"""Metric definitions, the facades that feed them, and the page made from them."""

import itertools
import math
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from stepstream_operator.metrics import CATALOGUE as OPERATOR
from stepstream_trainer.learner.metric_catalogue import CATALOGUE as LEARNER
from stepstream_trainer.learner.metrics import LearnerMetrics, LoopPhase, ReplayStands
from stepstream_trainer.learner.recent_episodes import RecentEpisodes
from stepstream_trainer.metrics import Metric, new_registry
from stepstream_trainer.metrics_docs import render
from stepstream_trainer.simulator.metrics import CATALOGUE as SIMULATOR
from stepstream_trainer.simulator.metrics import SimulatorMetrics

ALL = [*LEARNER.metrics, *SIMULATOR.metrics]


def exposed_names(registry: CollectorRegistry) -> set[str]:
    return {family.name for family in registry.collect()}


def test_every_definition_is_registered_by_its_facade() -> None:
    registry = new_registry()
    LearnerMetrics(registry, frame_skip=4)
    SimulatorMetrics(registry)
    assert exposed_names(registry) == {metric.name.removesuffix("_total") for metric in ALL}


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: str(metric.name))
def test_a_metric_has_a_meaning_that_is_a_sentence_and_a_name_that_ends_as_prometheus_asks(metric: Metric) -> None:
    assert metric.meaning.endswith(".")
    assert metric.unit
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.unit != "seconds" or "seconds" in metric.name


def test_metric_names_are_unique() -> None:
    assert all(first.name != second.name for first, second in itertools.combinations(ALL, 2))


def test_the_page_names_every_metric_once() -> None:
    page = render()
    assert all(page.count(f"| `{metric.name}`") + page.count(f"| `{metric.name}{{") == 1 for metric in ALL)


def test_the_page_in_the_tree_is_the_one_the_definitions_make() -> None:
    assert (Path(__file__).parents[2] / "docs" / "metrics.md").read_text() == render(OPERATOR)


def test_serving_a_group_counts_steps_frames_and_the_time_of_both_phases() -> None:
    registry = new_registry()
    metrics = LearnerMetrics(registry, frame_skip=4)
    metrics.served(steps=31, rows=32, inference_seconds=0.25)
    metrics.spent(LoopPhase.WAIT, 0.5)
    assert registry.get_sample_value("stepstream_learner_steps_total") == 31
    assert registry.get_sample_value("stepstream_learner_frames_total") == 124
    assert registry.get_sample_value("stepstream_learner_phase_seconds_total", {"phase": "wait"}) == 0.5
    assert registry.get_sample_value("stepstream_learner_batch_rows_sum", {"kind": "inference"}) == 32
    assert metrics.accounted_seconds() == 0.75


def test_a_replay_shows_what_it_holds_how_often_it_is_used_and_what_surprised() -> None:
    registry = new_registry()
    metrics = LearnerMetrics(registry, frame_skip=4)
    stands = ReplayStands(
        steps=900, capacity_steps=1000, ratio_asked=8.0, ratio_reached=7.5, epsilon=0.1, steps_to_learning=0
    )
    metrics.replay_stands(stands)
    metrics.sampled(age_steps=400.0, priority_mean=0.5, priority_largest=3.0)
    metrics.sampled(age_steps=500.0, priority_mean=0.4, priority_largest=2.0)
    seen = {
        name: registry.get_sample_value(f"stepstream_learner_{name}")
        for name in ("replay_steps", "replay_capacity_steps", "epsilon", "replay_sample_age_steps_sum")
    }
    assert list(seen.values()) == [900, 1000, 0.1, 900]
    for kind, ratio in (("asked", 8.0), ("reached", 7.5)):
        assert registry.get_sample_value("stepstream_learner_replay_ratio", {"kind": kind}) == ratio
    for statistic, priority in (("mean", 0.4), ("largest", 2.0)):
        assert registry.get_sample_value("stepstream_learner_replay_priority", {"statistic": statistic}) == priority
    assert metrics.totals.replay == stands


def test_counters_count_from_the_start_of_the_process_and_the_jobs_steps_from_the_start_of_the_job() -> None:
    registry = new_registry()
    metrics = LearnerMetrics(registry, frame_skip=1)
    metrics.totals.steps = 1_000_000
    metrics.served(steps=8, rows=8, inference_seconds=0.0)
    assert registry.get_sample_value("stepstream_learner_steps_total") == 8
    assert registry.get_sample_value("stepstream_learner_job_steps") == 1_000_008


def test_the_age_of_a_checkpoint_grows_until_the_next_and_is_nan_before_the_first() -> None:
    registry, now = new_registry(), [100.0]
    metrics = LearnerMetrics(registry, frame_skip=1, unix_time=lambda: now[0])
    age = "stepstream_learner_checkpoint_age_seconds"
    assert math.isnan(registry.get_sample_value(age) or 0.0)
    metrics.checkpoint_written(seconds=0.1)
    now[0] = 130.0
    assert registry.get_sample_value(age) == 30.0


def test_an_update_shows_its_losses_by_name() -> None:
    registry = new_registry()
    metrics = LearnerMetrics(registry, frame_skip=1)
    metrics.updated(rows=512, seconds=1.5, policy_lag=0.0, learning_rate=1e-3, losses={"policy": -0.25})
    assert registry.get_sample_value("stepstream_learner_loss", {"name": "policy"}) == -0.25
    assert metrics.totals.phase_seconds[LoopPhase.OPTIMISE] == 1.5


def test_a_return_is_not_a_number_before_there_is_one() -> None:
    registry = new_registry()
    metrics = LearnerMetrics(registry, frame_skip=1)
    names = [f"stepstream_learner_{name}" for name in ("episode_return_mean", "evaluation_return_mean")]
    assert all(math.isnan(registry.get_sample_value(name) or 0.0) for name in names)
    metrics.stands(steps_per_second=1.0, episode_return_mean=-20.5)
    metrics.evaluated(step=1, mean_return=-19.0)
    assert [registry.get_sample_value(name) for name in names] == [-20.5, -19.0]


@pytest.mark.parametrize(("lag", "observed"), [(0.0, 1), (None, 0)])
def test_policy_lag_is_told_where_samples_are_of_one_policy_and_not_where_they_come_from_a_replay(
    lag: float | None, observed: int
) -> None:
    registry = new_registry()
    metrics = LearnerMetrics(registry, frame_skip=1)
    metrics.updated(rows=32, seconds=0.1, policy_lag=lag, learning_rate=1e-3, losses={})
    assert registry.get_sample_value("stepstream_learner_policy_lag_updates_count") == observed


def test_the_mean_return_is_of_the_last_episodes_only() -> None:
    recent = RecentEpisodes(2)
    recent.add([100.0, 1.0, 3.0], [5, 10, 20])
    assert (recent.mean_return, recent.mean_length, recent.full) == (2.0, 15.0, True)


def test_recent_episodes_survive_a_checkpoint() -> None:
    recent, resumed = RecentEpisodes(3), RecentEpisodes(3)
    recent.add([1.0, 2.0], [10, 20])
    resumed.load_state_dict(recent.state_dict())
    assert (resumed.mean_return, resumed.mean_length, resumed.full) == (1.5, 15.0, False)


def test_the_queue_of_rows_tells_its_depth_at_each_scrape_and_the_time_lost_on_it() -> None:
    registry, ready = new_registry(), [16]
    metrics = LearnerMetrics(registry, frame_skip=1)
    metrics.watch_rows(lambda: ready[0])
    metrics.waited(0.5)
    ready[0] = 7
    assert registry.get_sample_value("stepstream_learner_queue_depth", {"queue": "rows"}) == 7
    assert registry.get_sample_value("stepstream_learner_queue_wait_seconds_total", {"queue": "rows"}) == 0.5
    assert metrics.totals.phase_seconds[LoopPhase.WAIT] == 0.5
