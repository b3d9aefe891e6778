"""What is sampled equals what a replay that forgets nothing works out from whole episodes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stepstream_trainer.replay import Replay, ReplayTooSmallError
from stepstream_trainer.replay.frames import DeviceFrames, HostFrames
from stepstream_trainer.replay.invariants import violations
from stepstream_trainer.replay.layout import smallest_rows_per_slot
from tests.support.replays import Expected, Fate, Pair, everything, layout_of, options_of, samples

IMAGES = [(8, 12), (4, 8, 3), (5, 7), (5, 3, 3)]
SHAPES = [*IMAGES, (3,), ()]

fates = st.sampled_from([Fate.GO_ON] * 6 + list(Fate))
steady_fates = st.sampled_from([Fate.GO_ON] * 30 + list(Fate))
only_cuts = st.just(Fate.TRUNCATE)


def assert_same(drawn: dict[bytes, Expected], expected: dict[bytes, Expected]) -> None:
    assert drawn.keys() == expected.keys()
    for key, sample in drawn.items():
        assert sample.action == expected[key].action
        assert sample.discounted == pytest.approx(expected[key].discounted, abs=1e-5)
        assert sample.next_observation == expected[key].next_observation
        assert sample.bootstrap == pytest.approx(expected[key].bootstrap, abs=1e-6)


@settings(deadline=None)
@given(data=st.data())
def test_exactly_the_complete_steps_are_sampled_as_whole_episodes_say(data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from(SHAPES))
    depth, slots, n_step = (data.draw(st.integers(1, high)) for high in (4, 3, 4))
    layout = layout_of(shape, depth if shape in IMAGES else 1)
    options = options_of(rows=1, slots=slots, n_step=n_step, prioritized=True)
    rows = smallest_rows_per_slot(options, layout) + data.draw(st.integers(0, 9))
    options = options_of(rows=rows, slots=slots, n_step=n_step, prioritized=True)
    pair = Pair(options, layout, groups=data.draw(st.integers(1, slots)), mid_episode=data.draw(st.booleans()))
    kind = data.draw(st.sampled_from([fates, steady_fates, only_cuts]))
    steps = data.draw(st.sampled_from([0, 30]))
    row = st.lists(kind, min_size=slots, max_size=slots)
    for row_fates in data.draw(st.lists(row, min_size=steps, max_size=steps + 10)):
        pair.append(row_fates)
        assert violations(pair.replay) == []
        assert_same(everything(pair.replay), pair.expected())


def played(*, prioritized: bool, steps: int = 90, seed: int = 0) -> Pair:
    """Three slots that have gone round their rings twice, with ends of all kinds."""
    pair = Pair(options_of(rows=40, slots=3, n_step=3, prioritized=prioritized, seed=seed), layout_of((8, 8), 4))
    random = np.random.default_rng(5)
    for _ in range(steps):
        pair.append([Fate(1 + number) for number in random.choice(6, 3, p=[0.75, *[0.05] * 5])])
    return pair


def test_uniform_draws_are_right_and_every_step_is_as_likely_as_any_other() -> None:
    pair = played(prioritized=False)
    drawn = pair.replay.sample(100_000, draw_number=0)
    assert_same(samples(drawn), pair.expected())
    counts = np.unique(drawn.index_N, return_counts=True)[1]
    expected = 100_000 / len(pair.replay)
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)
    assert drawn.weight_N.tolist() == [1.0] * 100_000


@pytest.mark.parametrize("prioritized", [False, True])
def test_a_draw_is_a_function_of_seed_and_number(prioritized: bool) -> None:
    first, again = (played(prioritized=prioritized).replay for _ in range(2))
    other_seed = played(prioritized=prioritized, seed=1).replay
    drawn = first.sample(64, draw_number=7).index_N.tolist()
    first.sample(64, draw_number=8)
    assert again.sample(64, draw_number=7).index_N.tolist() == drawn
    assert again.sample(64, draw_number=8).index_N.tolist() != drawn
    assert other_seed.sample(64, draw_number=7).index_N.tolist() != drawn


def test_the_age_of_a_sample_counts_the_rows_of_its_slot_since() -> None:
    pair = Pair(options_of(rows=20, prioritized=True), layout_of((3,)))
    for _ in range(10):
        pair.append([Fate.GO_ON])
    drawn = pair.replay.sample(20, draw_number=0)
    age = dict(zip(drawn.observation_N[:, 0].tolist(), drawn.age_N.tolist(), strict=True))
    assert [age[frame] for frame in sorted(age)] == list(range(10, 0, -1))


def test_a_truncated_episode_bootstraps_from_its_last_frame_and_a_terminated_one_from_nothing() -> None:
    pair = Pair(options_of(rows=20, slots=2, prioritized=True), layout_of((3,)))
    pair.append([Fate.TRUNCATE, Fate.TERMINATE])
    drawn = pair.replay.sample(4, draw_number=0)
    by_frame = sorted(zip(drawn.observation_N[:, 0], drawn.next_observation_N[:, 0], drawn.bootstrap_N, strict=True))
    # Frames 1 and 2 began; 3 and 4 came next; 5 and 6 are the final ones.
    assert by_frame[0][1].item() == 5.0
    assert by_frame[0][2].item() == pytest.approx(0.9)
    assert (by_frame[-1][1].item(), by_frame[-1][2].item()) == (0.0, 0.0)


def test_a_step_whose_outcome_was_lost_is_never_sampled() -> None:
    pair = Pair(options_of(rows=20, prioritized=True), layout_of((3,)))
    for fate in (Fate.GO_ON, Fate.BE_LOST, Fate.GO_ON):
        pair.append([fate])
    drawn = pair.replay.sample(64, draw_number=0)
    assert set(drawn.observation_N[:, 0].tolist()) == {1.0, 4.0}


def test_what_is_given_up_can_no_longer_be_given_a_priority() -> None:
    pair = played(prioritized=True)
    drawn = pair.replay.sample(200, draw_number=0)
    for _ in range(25):
        pair.append([Fate.GO_ON] * 3)
    pair.replay.update_priorities(drawn.index_N, np.full(200, 9.0))
    assert violations(pair.replay) == []


def test_a_capacity_that_leaves_a_slot_no_complete_step_is_refused() -> None:
    options = options_of(rows=7, slots=2, n_step=3)
    with pytest.raises(ReplayTooSmallError) as caught:
        Replay(options, layout_of((8, 8), 4), device=torch.device("cpu"))
    assert str(caught.value) == (
        "spec.algorithm.parameters.replayCapacitySteps: must be at least 16 for 2 environments, frame stacks of 4 and "
        "returns of 3 steps, got 14"
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_frames_on_a_device_give_the_stacks_that_frames_in_host_memory_give(shape: tuple[int, ...]) -> None:
    layout, random = layout_of(shape, 4), np.random.default_rng(0)
    host, device = (kind(layout, 50, torch.device("cpu")) for kind in (HostFrames, DeviceFrames))
    frames = random.integers(0, 99, (50, *shape)).astype(layout.dtype)
    for store in (host, device):
        store.put(np.arange(50)[::-1].copy(), frames)
    positions = random.integers(0, 51, (2, 40, layout.depth))
    assert torch.equal(host.stacks(positions), device.stacks(positions))
    np.testing.assert_array_equal(host.read(slice(3, 9)), device.read(slice(3, 9)))
    device.write(slice(0, 6), device.read(slice(3, 9)))
    np.testing.assert_array_equal(device.read(slice(0, 6)), host.read(slice(3, 9)))
