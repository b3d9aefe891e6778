"""Slots outlive the simulators that serve them: lost, joining, restarted ones, and a restarted learner."""

from itertools import chain
from typing import Any

import pytest

from stepstream_trainer.learner.slots import CUT
from stepstream_trainer.rows import ENDED, TRUNCATED
from tests.support.data_plane import CARTPOLE, PONG, LearnerEnd, SeenRow, config_of, data_plane, wait_until

STEPS = 120
ENVIRONMENTS = pytest.mark.parametrize("environment", [CARTPOLE, PONG], ids=["CartPole", "Pong"])


def undisturbed(environment: dict[str, Any], steps: int = STEPS) -> list[list[SeenRow]]:
    with data_plane(config_of(environment), "only") as plane:
        return plane.learner.play(steps)


def joined(*parts: list[list[SeenRow]]) -> list[list[SeenRow]]:
    """Rows of one slot after the other, from plays one after the other."""
    return [list(chain.from_iterable(slot)) for slot in zip(*parts, strict=True)]


@ENVIRONMENTS
def test_slots_move_to_joining_simulators_when_their_episodes_end_and_nothing_is_replayed(
    environment: dict[str, Any],
) -> None:
    with data_plane(config_of(environment), "first") as plane:
        learner, before = plane.learner, plane.learner.play(5)
        plane.simulators.start("second", "third")
        wait_until(lambda: learner.counts.streams == 9, "each has two leases, and offers to take one more")
        after = learner.play(STEPS - 5)
        assert learner.counts.replayed_steps == 0
        served = [plane.simulators.metric(name, "slots") for name in ("first", "second", "third")]
        assert sum(served) == len(after)
        assert min(served) >= 2.0
    assert joined(before, after) == undisturbed(environment)


def test_slots_of_a_simulator_that_does_not_come_back_go_to_the_others() -> None:
    with data_plane(config_of(CARTPOLE, simulators=2), "a", "b") as plane:
        before = plane.learner.play(10)
        plane.simulators.kill("a")
        after = plane.learner.play(10)
        wait_until(lambda: plane.learner.server.service().simulators == 1, "the other alone serves")
    assert joined(before, after) == undisturbed(CARTPOLE, 20)


@ENVIRONMENTS
def test_simulators_find_a_restarted_learner_and_rebuild_what_its_checkpoint_says(environment: dict[str, Any]) -> None:
    with data_plane(config_of(environment, simulators=2), "a", "b") as plane:
        before = plane.learner.play(30)
        assert plane.learner.slots is not None
        state, step = plane.learner.slots.state_dict(), plane.learner.step
        plane.learner.play(7)
        plane.learner.stop(job_over=False)
        resumed = LearnerEnd(plane.learner.config, plane.directory, step=step)
        resumed.begin(state)
        after = resumed.play(30)
        assert resumed.counts.differing == 0
        resumed.stop()
    assert joined(before, after) == undisturbed(environment, 60)


def test_simulators_that_come_before_their_learner_wait_for_it() -> None:
    with data_plane(config_of(CARTPOLE), "early") as plane:
        plane.learner.stop(job_over=False)
        plane.simulators.start("earlier")
        learner = LearnerEnd(plane.learner.config, plane.directory)
        assert len(learner.play(3)) == 8
        learner.stop()


def test_episodes_that_cannot_be_replayed_are_cut_where_their_simulator_was_lost() -> None:
    with data_plane(config_of(CARTPOLE | {"deterministic": False}), "a") as plane:
        learner = plane.learner
        before = learner.play(5)
        plane.simulators.kill("a")
        plane.simulators.start("a")
        after = learner.play(1)
    for slot, [cut] in enumerate(after):
        assert cut.flags == TRUNCATED | CUT
        assert cut.final_observation == before[slot][-1].observation
        assert cut.reward == 0.0


def test_every_slot_is_served_from_its_own_seeds() -> None:
    rows = undisturbed(CARTPOLE, 60)
    starts = [row.observation for slot in rows for row in slot if row.flags & ENDED]
    assert len(set(starts)) == len(starts)
