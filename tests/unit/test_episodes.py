"""Episodes as they are played to their end are what a mean return is of."""

import numpy as np

from stepstream_trainer.learner.episodes import EpisodeTracker

BOTH = slice(0, 2)


def record(
    tracker: EpisodeTracker, *, ended: tuple[bool, bool], cut: tuple[bool, bool]
) -> tuple[list[float], list[int]]:
    return tracker.record(BOTH, np.ones(2, np.float32), np.array(ended), np.array(cut))


def test_an_episode_is_booked_with_all_its_rewards_and_steps() -> None:
    tracker = EpisodeTracker(2, window=10)
    assert record(tracker, ended=(False, False), cut=(False, False)) == ([], [])
    assert record(tracker, ended=(True, False), cut=(False, False)) == ([2.0], [2])
    assert record(tracker, ended=(True, True), cut=(False, False)) == ([1.0, 3.0], [1, 3])
    assert (tracker.finished, tracker.recent.mean_return) == (3, 2.0)


def test_an_episode_that_was_cut_with_its_simulator_is_no_score_and_leaves_nothing_to_the_next() -> None:
    tracker = EpisodeTracker(2, window=10)
    for _ in range(5):
        record(tracker, ended=(False, False), cut=(False, False))
    assert record(tracker, ended=(True, True), cut=(True, False)) == ([6.0], [6])
    assert record(tracker, ended=(True, False), cut=(False, False)) == ([1.0], [1])
    assert tracker.finished == 2
