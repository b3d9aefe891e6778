"""The learner's /status: rates, forecast, health."""

import json
from dataclasses import dataclass

import pytest

from stepstream_trainer.config import Mode
from stepstream_trainer.learner.metrics import LoopPhase, ReplayStands
from stepstream_trainer.learner.modes import Decision
from stepstream_trainer.learner.status import STALLED_SECONDS, Identity, LearnerStatus, Phase, Progress


@dataclass
class Clock:
    """Time that moves when told."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def make_status(clock: Clock, total_steps: int = 1000) -> LearnerStatus:
    identity = Identity(job="pong", attempt=2, rank=0, frame_skip=4)
    return LearnerStatus(identity, total_steps=total_steps, clock=clock, unix_time=lambda: 1_700_000_000.0 + clock.now)


def test_steps_per_second_is_over_the_window_not_over_the_whole_life() -> None:
    clock = Clock()
    status = make_status(clock)
    for second in range(100):
        clock.now = float(second)
        status.advance(Progress(steps=second * (10 if second < 50 else 20) - (500 if second >= 50 else 0)))
    assert status.steps_per_second() == pytest.approx(20.0)


def test_a_job_that_never_advanced_has_a_rate_of_zero_and_no_forecast() -> None:
    snapshot = make_status(Clock()).snapshot()
    assert snapshot["stepsPerSecond"] == 0.0
    assert snapshot["estimatedRemainingSeconds"] is None
    assert snapshot["phase"] == "Starting"


def test_the_forecast_is_what_is_left_at_the_present_rate() -> None:
    clock = Clock()
    status = make_status(clock)
    status.advance(Progress(steps=200))
    clock.now = 2.0
    status.advance(Progress(steps=250))
    snapshot = status.snapshot()
    assert snapshot["percent"] == 25.0
    assert snapshot["estimatedRemainingSeconds"] == pytest.approx(750 / 25)


def test_a_raised_budget_is_taken_over() -> None:
    status = make_status(Clock())
    status.advance(Progress(steps=500))
    status.budget(2000)
    assert status.snapshot()["percent"] == 25.0


def test_frames_are_steps_times_frame_skip() -> None:
    status = make_status(Clock())
    status.advance(Progress(steps=10))
    assert status.snapshot()["frames"] == 40


def test_the_learners_waiting_fraction_is_the_share_of_the_window_spent_waiting() -> None:
    clock = Clock()
    status = make_status(clock)
    status.advance(Progress(phase_seconds={LoopPhase.WAIT: 1.0}))
    clock.now = 10.0
    status.advance(Progress(phase_seconds={LoopPhase.WAIT: 3.5}))
    assert status.snapshot()["waiting"]["learnerFraction"] == pytest.approx(0.25)


def test_the_simulators_waiting_fraction_is_of_the_leased_slots_time() -> None:
    clock = Clock()
    status = make_status(clock)
    status.advance(Progress(slot_wait_seconds=2.0))
    assert status.snapshot()["waiting"]["simulatorFraction"] is None
    clock.now = 10.0
    status.advance(Progress(slot_wait_seconds=14.0, slots_leased=4))
    assert status.snapshot()["waiting"]["simulatorFraction"] == pytest.approx(12.0 / (4 * 10.0))


def test_the_last_update_time_moves_only_with_updates() -> None:
    clock = Clock()
    status = make_status(clock)
    status.advance(Progress(updates=1))
    clock.now = 60.0
    status.advance(Progress(updates=1, steps=5))
    assert status.snapshot()["lastUpdateTime"] == "2023-11-14T22:13:20Z"


def test_a_failed_checkpoint_is_counted_and_the_last_whole_one_stays() -> None:
    status = make_status(Clock())
    status.checkpoint_written(step=100, path="checkpoints/100")
    status.checkpoint_failed("disk full")
    snapshot = status.snapshot()
    assert snapshot["checkpoint"] == {
        "step": 100,
        "path": "checkpoints/100",
        "time": "2023-11-14T22:13:20Z",
        "failures": 1,
    }
    assert snapshot["message"] == "disk full"
    status.checkpoint_written(step=200, path="checkpoints/200")
    assert status.snapshot()["message"] == ""


def test_slots_that_are_being_rebuilt_are_told_while_nothing_else_happens() -> None:
    status = make_status(Clock())
    status.advance(Progress(slots_total=16, slots_leased=16, slots_rebuilding=16))
    assert status.snapshot()["message"] == "simulators replay the episodes of 16 slots"
    assert status.snapshot()["slots"] == {"total": 16, "leased": 16, "rebuilding": 16}
    status.advance(Progress(slots_total=16, slots_leased=16))
    assert status.snapshot()["message"] == ""


def test_a_loop_that_stands_still_is_unhealthy_and_one_that_waits_is_not() -> None:
    clock = Clock()
    status = make_status(clock)
    status.enter(Phase.RUNNING)
    clock.now = STALLED_SECONDS - 1
    assert status.healthy() is None
    status.advance(Progress())
    clock.now += STALLED_SECONDS + 1
    assert status.healthy() == "the loop has not advanced for 301 s"


def test_a_finished_learner_stays_healthy() -> None:
    clock = Clock()
    status = make_status(clock)
    status.enter(Phase.SUCCEEDED)
    clock.now = 10 * STALLED_SECONDS
    assert status.healthy() is None


def test_the_snapshot_is_json_with_every_field_of_the_contract() -> None:
    expected = (
        "job attempt rank phase message mode modeDecision steps frames updates stepsPerSecond episodes episodeReturn "
        "episodeLength policyLag percent estimatedRemainingSeconds phaseSeconds slots simulators waiting checkpoint "
        "lastUpdateTime"
    )
    snapshot = json.loads(json.dumps(make_status(Clock()).snapshot()))
    assert set(expected.split()) <= snapshot.keys()
    assert set(snapshot["phaseSeconds"]) == {phase.value for phase in LoopPhase}


def replay(**changes: float) -> ReplayStands:
    full = {"steps": 900, "capacity_steps": 1000, "ratio_asked": 8.0, "ratio_reached": 7.5, "epsilon": 0.1}
    return ReplayStands(**({**full, "steps_to_learning": 0} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(("updates", "word"), [(0, "begins"), (50, "goes on")])
def test_a_replay_that_fills_before_learning_is_what_the_message_says(updates: int, word: str) -> None:
    status = make_status(Clock())
    status.advance(Progress(steps=200, updates=updates, replay=replay(steps_to_learning=1234)))
    assert status.snapshot()["message"] == f"the replay fills: learning {word} after 1,234 more steps"
    status.advance(Progress(steps=2000, updates=updates, replay=replay()))
    assert status.snapshot()["message"] == ""


def test_a_status_holds_the_replay_where_there_is_one() -> None:
    status = make_status(Clock())
    assert status.snapshot()["replay"] is None
    status.advance(Progress(replay=replay()))
    assert status.snapshot()["replay"] == {
        "steps": 900,
        "capacitySteps": 1000,
        "ratioAsked": 8.0,
        "ratioReached": 7.5,
        "epsilon": 0.1,
        "stepsToLearning": 0,
    }


def test_a_learner_that_waits_for_its_first_simulator_is_healthy_for_as_long_as_it_looks() -> None:
    clock = Clock()
    status = make_status(clock)
    status.enter(Phase.STARTING, "waiting for the first simulator")
    for _ in range(3):
        clock.now += STALLED_SECONDS
        assert status.healthy() is None
        status.alive()
    clock.now += STALLED_SECONDS + 1
    assert status.healthy() is not None


def test_the_mode_is_what_the_learner_runs_in_and_calibrating_is_a_phase_of_its_own() -> None:
    status = make_status(Clock())
    status.runs_in(Mode.Async, calibrating=True)
    assert (status.snapshot()["mode"], status.snapshot()["phase"]) == ("Async", "Calibrating")
    status.runs_in(Mode.Async, calibrating=False)
    assert (status.snapshot()["mode"], status.snapshot()["phase"]) == ("Async", "Running")


def test_in_async_mode_two_threads_may_wait() -> None:
    clock = Clock()
    status = make_status(clock)
    status.runs_in(Mode.Async, calibrating=False)
    for seconds in (0.0, 10.0):
        clock.now = seconds
        status.advance(Progress(phase_seconds={LoopPhase.WAIT: seconds, LoopPhase.IDLE: 0.5 * seconds}))
    assert status.snapshot()["waiting"]["learnerFraction"] == pytest.approx(0.75)


def test_why_auto_became_what_it_is_stands_in_the_status() -> None:
    status = make_status(Clock())
    assert status.snapshot()["modeDecision"] is None
    status.decided(
        Decision(
            selected=Mode.Async,
            sync_steps_per_second=100.0,
            async_steps_per_second=150.0,
            policy_lag=0.9,
            reason="faster by 50%",
        )
    )
    assert status.snapshot()["modeDecision"] == {
        "selected": "Async",
        "syncStepsPerSecond": 100.0,
        "asyncStepsPerSecond": 150.0,
        "policyLag": 0.9,
        "reason": "faster by 50%",
    }
