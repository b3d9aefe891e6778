"""A replay is saved in chunks, of which only those that changed are written, and goes on from them exactly."""

import copy
import pickle
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stepstream_trainer.replay import Replay, chunks
from stepstream_trainer.replay.invariants import violations
from tests.support.replays import Fate, Pair, layout_of, options_of, samples

fates = st.lists(st.sampled_from([Fate.GO_ON] * 6 + list(Fate)), min_size=3, max_size=3)
SHAPES = [(8, 8), (3,)]


@pytest.fixture(autouse=True, scope="module")
def _small_chunks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "CHUNK_BYTES", 700)
        yield


def new_pair(shape: tuple[int, ...] = (8, 8), *, prioritized: bool = True) -> Pair:
    """Three slots of 23 rows, in chunks of a few."""
    return Pair(options_of(rows=23, slots=3, n_step=2, prioritized=prioritized), layout_of(shape, 3))


class Disk:
    """What a checkpoint's writer has put there."""

    def __init__(self) -> None:
        self._versions: dict[int, int] = {}
        self._arrays: dict[int, dict[str, Any]] = {}

    def keep(self, replay: Replay, numbers: Iterable[int]) -> int:
        """Write those of the chunks that are not on disk as they are now; how many that were."""
        versions = replay.chunk_versions()
        changed = [number for number in numbers if versions[number] != self._versions.get(number, 0)]
        for number in changed:
            self._arrays[number] = replay.read_chunk(number)
            self._versions[number] = int(versions[number])
        return len(changed)

    def restored(self, pair: Pair) -> Replay:
        """A new replay that stands where the pair's does, given that all its chunks are on disk."""
        replay = Replay(pair.options, pair.layout, device=torch.device("cpu"))
        replay.load_state_dict(pair.replay.state_dict())
        for number, arrays in self._arrays.items():
            replay.write_chunk(number, arrays)
        return replay


def draw(replay: Replay) -> tuple[Any, ...]:
    if len(replay) == 0:
        return ()
    drawn = replay.sample(50, draw_number=4, importance_exponent=0.5)
    return samples(drawn), drawn.index_N.tolist(), drawn.weight_N.tolist(), drawn.age_N.tolist()


def change_priorities(replay: Replay) -> None:
    if replay.tree is not None and len(replay):
        replay.update_priorities(replay.sample(4, draw_number=0).index_N, np.array([3.0, 0.1, 5.0, 0.0]))


@settings(deadline=None, max_examples=60)
@given(
    shape=st.sampled_from([(8, 8), (3,)]),
    prioritized=st.booleans(),
    before=st.lists(fates, max_size=70),
    after=st.lists(fates, max_size=30),
    save_every=st.integers(1, 30),
)
def test_a_replay_that_was_saved_little_by_little_goes_on_like_one_that_was_never_interrupted(
    shape: tuple[int, ...], prioritized: bool, before: list[list[Fate]], after: list[list[Fate]], save_every: int
) -> None:
    original, disk = new_pair(shape, prioritized=prioritized), Disk()
    every_chunk = range(len(original.replay.chunk_versions()))
    for number, row in enumerate(before):
        original.append(row)
        change_priorities(original.replay)
        disk.keep(original.replay, original.replay.settled_chunks().tolist()[:1])
        if number % save_every == 0:
            disk.keep(original.replay, every_chunk)
    disk.keep(original.replay, every_chunk)
    resumed = copy.deepcopy(original)
    resumed.replay = disk.restored(original)
    for row in [None, *after]:
        for pair in (original, resumed):
            if row is not None:
                pair.append(row)
            change_priorities(pair.replay)
        assert draw(resumed.replay) == draw(original.replay)
    assert violations(resumed.replay) == []
    # What is saved after a resume is what has changed since, here too.
    disk.keep(resumed.replay, every_chunk)
    assert draw(disk.restored(resumed)) == draw(original.replay)


def test_a_chunk_is_written_again_only_when_the_ring_has_come_round() -> None:
    pair, disk = new_pair(), Disk()
    chunks_there_are = len(pair.replay.chunk_versions())
    assert chunks_there_are > 4
    written = 0
    for _ in range(23 * 10):
        pair.append([Fate.GO_ON] * 3)
        written += disk.keep(pair.replay, pair.replay.settled_chunks().tolist())
    assert written == pytest.approx(10 * chunks_there_are, abs=2)


def test_a_chunk_that_slots_behind_others_still_write_has_not_settled() -> None:
    pair, disk = new_pair(), Disk()
    written = rounds = 0
    for number in range(23 * 10):  # a truncation takes a row more, so the first slot is soon far ahead
        pair.append([Fate.TRUNCATE if number < 12 else Fate.GO_ON, Fate.GO_ON, Fate.GO_ON])
        written += disk.keep(pair.replay, pair.replay.settled_chunks().tolist())
        rounds = number / 23
    assert written <= (rounds + 1) * len(pair.replay.chunk_versions())
    assert written > 0


def test_what_was_read_does_not_follow_what_comes_after() -> None:
    pair = new_pair()
    state, arrays = pair.replay.state_dict(), pair.replay.read_chunk(0)
    before = pickle.dumps((state, arrays))
    for _ in range(50):
        pair.append([Fate.TRUNCATE] * 3)
    assert pickle.dumps((state, arrays)) == before


def test_before_anything_is_written_no_chunk_is_worth_saving() -> None:
    options = options_of(rows=23, slots=3)
    replay = Replay(options, layout_of((3,)), device=torch.device("cpu"))
    assert not replay.chunk_versions().any()
    assert replay.settled_chunks().tolist() == []
