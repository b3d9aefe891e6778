"""The slots' memory: whose turn it is, what is kept to rebuild from, and what happens to rows that come twice."""

import threading
from zlib import crc32

import numpy as np
import pytest

from stepstream_trainer.learner.lanes import Lanes, runs
from stepstream_trainer.learner.slots import CUT, Held, Slots
from stepstream_trainer.rows import LIFE_LOST, RESTART, START, TERMINATED, TRUNCATED, VACANT, Rows, Spaces

SPACES = Spaces(shape=(2,), dtype=np.dtype(np.float32), num_actions=4, num_categories=0)


def slots_of(num_slots: int = 2, *, groups: int = 1, deterministic: bool = True) -> Slots:
    return Slots(SPACES, num_slots=num_slots, groups=groups, deterministic=deterministic)


def rows(observation: list[float], flags: list[int], reward: float = 1.0) -> Rows:
    """Lane i sees (observation[i], observation[i]); truncated lanes saw 100 more at last."""
    seen = np.repeat(np.array(observation, np.float32)[:, np.newaxis], 2, axis=1)
    flag_n = np.array(flags, np.uint8)
    return Rows(
        observation=seen,
        reward=np.full(len(flags), reward, np.float32),
        flags=flag_n,
        final_observation=seen[(flag_n & TRUNCATED) != 0] + 100,
    )


def write(slots: Slots, lanes: Lanes, observation: list[float], flags: list[int]) -> list[int]:
    copied = slots.copy_rows(lanes, rows(observation, flags))
    assert copied is not None
    return slots.finish_rows(lanes, copied)


def begun(slots: Slots) -> Lanes:
    """All slots of group 0, served by one stream that has brought first observations 0, 1, ..."""
    members = slots.group_slices[0]
    lanes, _ = slots.open_lanes(0, range(members.start, members.stop))
    count = members.stop - members.start
    write(slots, lanes, [float(lane) for lane in range(count)], [START] * count)
    return lanes


def take(slots: Slots, lanes: Lanes) -> list[int]:
    """The actions that are there for the stream now."""
    actions = slots.wait_actions(lanes, 0.0)
    assert actions is not None
    return actions.action.tolist()


def post(slots: Slots, *actions: int) -> None:
    slots.post_actions(0, np.array(actions))


def rebuild_of(slots: Slots, slot: int) -> tuple[int, list[int]]:
    """Episode and actions that a new lease of the slot would begin with."""
    _, [start] = slots.open_lanes(0, [slot])
    return start.episode, np.frombuffer(start.actions, np.int32).tolist()


def test_a_group_is_ready_when_all_its_rows_are_and_awaited_once_actions_are_posted() -> None:
    slots = slots_of(4, groups=2)
    assert not slots.wait_group(0, 0.0)
    lanes = begun(slots)
    assert slots.wait_group(0, 0.0)
    assert not slots.wait_group(1, 0.0)
    post(slots, 2, 3)
    assert not slots.wait_group(0, 0.0)
    assert take(slots, lanes) == [2, 3]


def test_actions_are_taken_once() -> None:
    slots = slots_of()
    lanes = begun(slots)
    post(slots, 2, 3)
    take(slots, lanes)
    assert slots.wait_actions(lanes, 0.0) is None


def test_rows_of_two_streams_make_one_batch_in_slot_order() -> None:
    slots = slots_of(4)
    odd, _ = slots.open_lanes(0, [3, 1])
    even, _ = slots.open_lanes(0, [0, 2])
    write(slots, odd, [3.0, 1.0], [START, START])
    assert not slots.wait_group(0, 0.0)
    write(slots, even, [0.0, 2.0], [START, START])
    assert slots.wait_group(0, 0.0)
    assert slots.observation[:, 0].tolist() == [0.0, 1.0, 2.0, 3.0]


def test_a_lost_slot_is_rebuilt_from_the_actions_of_its_episode() -> None:
    slots = slots_of()
    lanes = begun(slots)
    post(slots, 1, 2)
    take(slots, lanes)
    write(slots, lanes, [5.0, 6.0], [LIFE_LOST, TERMINATED])
    post(slots, 3, 0)
    slots.close_lanes(lanes)
    assert rebuild_of(slots, 0) == (0, [1, 3])
    assert rebuild_of(slots, 1) == (1, [0])


def test_the_last_observation_of_a_truncated_episode_is_kept_beside_the_next_first_one() -> None:
    slots = slots_of()
    lanes = begun(slots)
    post(slots, 0, 0)
    take(slots, lanes)
    write(slots, lanes, [5.0, 6.0], [0, TRUNCATED])
    assert slots.observation[1, 0] == 6.0
    assert slots.final_observation[1, 0] == 106.0


def test_a_row_that_a_slot_already_holds_is_compared_and_dropped() -> None:
    slots = slots_of()
    slots.close_lanes(begun(slots))
    lanes, _ = slots.open_lanes(0, [0, 1])
    copied = slots.copy_rows(lanes, rows([0.0, 7.0], [START, START]))
    assert copied is not None
    assert copied.lane_k.tolist() == []
    assert copied.differing == [1]
    slots.finish_rows(lanes, copied)
    assert slots.observation[1, 0] == 1.0


@pytest.mark.parametrize(("deterministic", "kept"), [(True, 1), (False, 0)])
def test_actions_that_rebuild_nothing_are_not_kept(deterministic: bool, kept: int) -> None:
    slots = slots_of(deterministic=deterministic)
    lanes = begun(slots)
    post(slots, 1, 2)
    take(slots, lanes)
    write(slots, lanes, [2.0, 3.0], [0, 0])
    assert slots.state_dict()["history_lengths"].tolist() == [kept, kept]


def test_a_slot_that_cannot_be_rebuilt_after_all_begins_its_next_episode() -> None:
    slots = slots_of()
    slots.close_lanes(begun(slots))
    lanes, _ = slots.open_lanes(0, [0, 1])
    write(slots, lanes, [0.0, 7.0], [START, START])
    post(slots, 2, 3)
    assert take(slots, lanes) == [2, RESTART]


def test_an_episode_that_was_rebuilt_otherwise_ends_at_the_row_that_is_awaited() -> None:
    slots = slots_of()
    lost = begun(slots)
    post(slots, 2, 3)
    slots.close_lanes(lost)
    lanes, [first, second] = slots.open_lanes(0, [0, 1])
    assert first.held == Held(actions=0, checksum=crc32(slots.observation[0].tobytes()))
    assert second.held == Held(actions=0, checksum=crc32(slots.observation[1].tobytes()))
    copied = slots.copy_rows(lanes, rows([5.0, 6.0], [0, START]))
    assert copied is not None
    slots.finish_rows(lanes, copied)
    assert copied.differing == [1]
    assert slots.flags.tolist() == [0, TRUNCATED | CUT]
    assert slots.reward.tolist() == [1.0, 0.0]
    assert slots.final_observation[1, 0] == 1.0
    post(slots, 2, 3)
    assert take(slots, lanes) == [2, 3]


def test_an_episode_that_was_rebuilt_otherwise_and_looks_the_same_is_begun_anew() -> None:
    slots = slots_of()
    lost = begun(slots)
    post(slots, 2, 3)
    take(slots, lost)
    write(slots, lost, [5.0, 6.0], [0, 0])
    slots.close_lanes(lost)
    lanes, starts = slots.open_lanes(0, [0, 1])
    assert [start.held and start.held.actions for start in starts] == [1, 1]
    copied = slots.copy_rows(lanes, rows([5.0, 6.0], [0, START]))
    assert copied is not None
    assert copied.differing == [1]
    slots.finish_rows(lanes, copied)
    post(slots, 2, 3)
    assert take(slots, lanes) == [2, RESTART]
    copied = slots.copy_rows(lanes, rows([7.0, 8.0], [0, START]))
    assert copied is not None
    assert copied.differing == [], "it was told before"


def test_what_was_never_seen_or_cannot_be_rebuilt_is_held_against_nothing() -> None:
    _, [start] = slots_of(1).open_lanes(0, [0])
    assert start.held is None
    chance = slots_of(1, deterministic=False)
    chance.close_lanes(begun(chance))
    _, [start] = chance.open_lanes(0, [0])
    assert start.held is None


def test_a_lease_that_begins_while_the_loop_acts_rebuilds_up_to_the_row_it_is_asked_for() -> None:
    slots = slots_of()
    slots.close_lanes(begun(slots))
    lanes, _ = slots.open_lanes(0, [0, 1])
    post(slots, 2, 3)
    write(slots, lanes, [0.0, 1.0], [START, START])
    assert take(slots, lanes) == [2, 3]
    write(slots, lanes, [5.0, 6.0], [0, 0])
    assert slots.wait_group(0, 0.0)
    assert slots.observation[:, 0].tolist() == [5.0, 6.0]


def test_a_lost_episode_that_cannot_be_replayed_ends_as_a_truncation() -> None:
    slots = slots_of(deterministic=False)
    lanes = begun(slots)
    post(slots, 1, 2)
    slots.close_lanes(lanes)
    successor, starts = slots.open_lanes(0, [0, 1])
    assert [(start.episode, start.actions) for start in starts] == [(1, b""), (1, b"")]
    write(slots, successor, [8.0, 9.0], [START, START])
    assert slots.flags.tolist() == [TRUNCATED | CUT, TRUNCATED | CUT]
    assert slots.reward.tolist() == [0.0, 0.0]
    assert slots.final_observation[:, 0].tolist() == [0.0, 1.0]
    assert slots.observation[:, 0].tolist() == [8.0, 9.0]


def test_where_no_row_is_awaited_the_lost_episode_ends_at_the_next_action() -> None:
    slots = slots_of(deterministic=False)
    slots.close_lanes(begun(slots))
    lanes, _ = slots.open_lanes(0, [0, 1])
    write(slots, lanes, [8.0, 9.0], [START, START])
    assert slots.observation[:, 0].tolist() == [0.0, 1.0]
    post(slots, 1, 2)
    assert take(slots, lanes) == [RESTART, RESTART]
    write(slots, lanes, [8.0, 9.0], [START, START])
    assert slots.flags.tolist() == [TRUNCATED | CUT, TRUNCATED | CUT]
    assert slots.final_observation[:, 0].tolist() == [0.0, 1.0]


@pytest.mark.parametrize(("deterministic", "action", "episode"), [(True, 3, 1), (False, RESTART, 2)])
def test_a_slot_moves_when_its_episode_ends(deterministic: bool, action: int, episode: int) -> None:
    slots = slots_of(deterministic=deterministic)
    donor = begun(slots)
    receiver, [start] = slots.open_lanes(0, [1], later=[1])
    assert start.later
    post(slots, 1, 2)
    take(slots, donor)
    donor.leaving.add(1)
    with slots.lock:
        assert write(slots, donor, [5.0, 6.0], [0, TERMINATED]) == [1]
        slots.adopt(receiver, 1)
    assert slots.wait_actions(receiver, 0.0) is None
    post(slots, 2, 3)
    told = slots.wait_actions(receiver, 0.0)
    assert told is not None
    assert (told.action.tolist(), told.adopted) == ([action], [(1, episode)])
    take(slots, donor)
    write(slots, donor, [7.0, 0.0], [0, VACANT])
    assert not slots.wait_group(0, 0.0)
    write(slots, receiver, [8.0], [0])
    assert slots.observation[:, 0].tolist() == [7.0, 8.0]


def test_an_ended_lease_writes_nothing_and_waits_for_nothing() -> None:
    slots = slots_of()
    lanes = begun(slots)
    post(slots, 1, 2)
    slots.close_lanes(lanes)
    assert slots.copy_rows(lanes, rows([5.0, 6.0], [0, 0])) is None
    assert slots.wait_actions(lanes, 60.0) is None


def test_slots_are_leased_anew_only_when_the_row_being_copied_is_whole() -> None:
    slots = slots_of()
    lanes, _ = slots.open_lanes(0, [0, 1])
    copied = slots.copy_rows(lanes, rows([0.0, 1.0], [START, START]))
    assert copied is not None
    closing = threading.Thread(target=slots.close_lanes, args=(lanes,))
    closing.start()
    closing.join(0.05)
    assert closing.is_alive()
    slots.finish_rows(lanes, copied)
    closing.join()
    assert slots.wait_group(0, 0.0)


def test_a_resumed_learner_stands_where_its_checkpoint_was_taken() -> None:
    slots = slots_of()
    lanes = begun(slots)
    post(slots, 1, 2)
    take(slots, lanes)
    write(slots, lanes, [5.0, 6.0], [0, TERMINATED])
    resumed = slots_of()
    resumed.load_state_dict(slots.state_dict())
    assert resumed.wait_group(0, 0.0)
    np.testing.assert_array_equal(resumed.observation, slots.observation)
    assert rebuild_of(resumed, 0) == (0, [1])
    assert rebuild_of(resumed, 1) == (1, [])


def test_a_saved_state_does_not_follow_what_comes_after() -> None:
    slots = slots_of()
    lanes = begun(slots)
    state = slots.state_dict()
    post(slots, 1, 2)
    take(slots, lanes)
    write(slots, lanes, [5.0, 6.0], [0, TERMINATED])
    assert state["observation"][:, 0].tolist() == [0.0, 1.0]
    assert state["episode"].tolist() == [0, 0]
    assert state["history"].tolist() == []


def test_rows_are_copied_in_the_longest_pieces_there_are() -> None:
    slot_n = np.array([4, 5, 6, 9, 8])
    assert list(runs(np.arange(5), slot_n)) == [
        (slice(0, 3), slice(4, 7)),
        (slice(3, 4), slice(9, 10)),
        (slice(4, 5), slice(8, 9)),
    ]
    assert list(runs(np.array([0, 2]), slot_n)) == [(slice(0, 1), slice(4, 5)), (slice(2, 3), slice(6, 7))]
    assert list(runs(np.array([], np.int64), slot_n)) == []
