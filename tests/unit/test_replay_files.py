"""The replay beside the checkpoints: it comes back as it was, only what changed is written, and damage is found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from stepstream_trainer.algorithms.observations import BlockImages
from stepstream_trainer.config import TrainerConfig, parse
from stepstream_trainer.learner.assembly import find_checkpoint
from stepstream_trainer.learner.checkpoint import CheckpointError, CheckpointStore, Manifest
from stepstream_trainer.learner.identity import identity_digest
from stepstream_trainer.learner.replay_files import ReplayFiles
from stepstream_trainer.replay import FrameLayout, Outcomes, PriorityOptions, Replay, ReplayOptions
from tests.support.daemons import eventually

SLOTS = 4
JOB = {"job": "cart", "environment": {"id": "CartPole-v1"}, "algorithm": {"name": "DQN"}}
LAYOUT = FrameLayout(
    frame_shape=(84, 84), dtype=np.dtype(np.uint8), network_input=BlockImages(rows=21, columns=21, frames=4)
)
OPTIONS = ReplayOptions(
    capacity_steps=SLOTS * 1000,
    num_slots=SLOTS,
    n_step=3,
    discount=0.99,
    seed=1,
    priority=PriorityOptions(exponent=0.5),
)
ALL = slice(0, SLOTS)


def new_replay() -> Replay:
    return Replay(OPTIONS, LAYOUT, device=torch.device("cpu"))


def begun() -> Replay:
    replay = new_replay()
    replay.begin(ALL, np.zeros((SLOTS, 84, 84), np.uint8))
    return replay


def append(replay: Replay, rows: int, *, seed: int) -> None:
    random = np.random.default_rng(seed)
    for _ in range(rows):
        ended = random.random(SLOTS) < 0.05
        frames = random.integers(0, 256, (2, SLOTS, 84, 84), np.uint8)
        replay.append(
            ALL,
            Outcomes(
                action_n=random.integers(0, 4, SLOTS),
                reward_n=random.normal(size=SLOTS).astype(np.float32),
                terminated_n=ended,
                truncated_n=np.zeros(SLOTS, np.bool_),
                ended_n=ended,
                observation_n=frames[0],
                final_observation_n=frames[1],
            ),
        )


@contextmanager
def files_of(replay: Replay, directory: Path) -> Iterator[ReplayFiles]:
    files = ReplayFiles(replay, directory)
    try:
        yield files
    finally:
        files.close()


def save(store: CheckpointStore, files: ReplayFiles, step: int) -> Manifest:
    kept = files.keep()
    return store.save(kept.state, step=step, updates=step, attempt=1, job_digest="d", beside=kept.files)


def all_settled_are_written(replay: Replay, files: ReplayFiles, *, since: dict[int, str]) -> None:
    """Writes them behind, for as long as the writer takes, into other files than the chunks were in."""
    settled = set(replay.settled_chunks())

    def are_written() -> bool:
        files.write_behind()
        return settled <= {number for number, _ in files.written().items() - since.items()}

    assert len(settled) >= 2
    eventually(are_written, timeout_seconds=60, what="all settled chunks are written")


def beside(directory: Path) -> set[str]:
    return {path.name for path in directory.glob("replay-*.beside")}


def assert_same(one: Replay, other: Replay) -> None:
    assert len(one) == len(other)
    first, second = one.sample(64, 9, 0.4), other.sample(64, 9, 0.4)
    for name in ("observation_N", "action_N", "return_N", "next_observation_N", "bootstrap_N", "weight_N"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name
    np.testing.assert_array_equal(first.index_N, second.index_N)


def restored(store: CheckpointStore, told: list[str]) -> tuple[Replay, Manifest]:
    found = store.load_latest(warn=told.append)
    assert found is not None
    replay = new_replay()
    with files_of(replay, store.directory) as files:
        files.restore(found[1]["replay"])
    return replay, found[0]


@pytest.mark.parametrize("rows", [10, 999, 2300], ids=["begun", "full", "twice round"])
def test_what_was_kept_comes_back_and_goes_on_alike(rows: int, tmp_path: Path) -> None:
    replay, store = begun(), CheckpointStore(tmp_path, retain=2)
    with files_of(replay, tmp_path) as files:
        append(replay, rows, seed=1)
        replay.update_priorities(replay.sample(32, 0, 0.4).index_N, np.linspace(0.1, 3, 32))
        save(store, files, 10)

        other, _ = restored(store, [])

        assert_same(replay, other)
        for each in (replay, other):
            append(each, 300, seed=2)
        assert_same(replay, other)


def test_only_chunks_that_changed_are_written_again(tmp_path: Path) -> None:
    replay, store = begun(), CheckpointStore(tmp_path, retain=1)
    with files_of(replay, tmp_path) as files:
        append(replay, 900, seed=1)
        save(store, files, 10)
        before = beside(tmp_path)
        append(replay, 5, seed=2)

        save(store, files, 20)

    assert len(beside(tmp_path) - before) <= 2
    assert len(before) >= 3


def test_settled_chunks_are_written_while_training_goes_on(tmp_path: Path) -> None:
    replay, store = begun(), CheckpointStore(tmp_path, retain=1)
    with files_of(replay, tmp_path) as files:
        for seed in range(90):
            append(replay, 10, seed=seed)
            files.write_behind()
        all_settled_are_written(replay, files, since={})
        written = files.written()

        save(store, files, 10)

        assert set(written) <= set(files.written())
    assert_same(replay, restored(store, [])[0])


def test_files_stay_as_long_as_a_checkpoint_names_them(tmp_path: Path) -> None:
    replay, store = begun(), CheckpointStore(tmp_path, retain=2)
    with files_of(replay, tmp_path) as files:
        for step in (10, 20, 30, 40):
            append(replay, 1000, seed=step)  # the ring has come round: every file is a new one
            save(store, files, step)
    newest = [store.load(path)[0] for path in sorted(tmp_path.glob("*.json"))]

    assert [manifest.step for manifest in newest] == [30, 40]
    assert beside(tmp_path) == {name for manifest in newest for name in manifest.beside}


@pytest.mark.parametrize("damage", ["truncated", "changed", "removed"])
def test_a_damaged_file_is_found_and_the_checkpoint_before_it_is_used(damage: str, tmp_path: Path) -> None:
    replay, store, told = begun(), CheckpointStore(tmp_path, retain=2), list[str]()
    with files_of(replay, tmp_path) as files:
        append(replay, 500, seed=1)
        save(store, files, 10)
        older, _ = restored(store, told)
        append(replay, 10, seed=2)
        newest = save(store, files, 20)
    path = tmp_path / next(name for name in newest.beside if name not in store.load(store.manifest_path(10))[0].beside)
    data = path.read_bytes()
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(data[:-5] if damage == "truncated" else data[:-5] + b"wrong")

    found, manifest = restored(store, told)

    assert manifest.step == 10
    assert_same(found, older)
    assert str(path) in told[0]


def test_a_file_that_no_checkpoint_was_told_of_goes_with_its_chunks_next_one(tmp_path: Path) -> None:
    replay, store = begun(), CheckpointStore(tmp_path, retain=1)
    with files_of(replay, tmp_path) as files:
        append(replay, 500, seed=0)
        kept = set(save(store, files, 10).beside)
        for turn in range(1, 4):  # of the ring, between two checkpoints
            before = files.written()
            append(replay, 1000, seed=turn)
            all_settled_are_written(replay, files, since=before)
        files.close()
        assert beside(tmp_path) == kept | set(files.written().values())


def test_a_chunk_that_the_disk_refused_is_said_and_left_to_the_next_checkpoint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "checkpoints"
    place.write_text("no directory can be made here")
    replay = begun()
    append(replay, 900, seed=0)
    with files_of(replay, place) as files:
        for _ in range(3):
            files.write_behind()
            files.close()
        assert caplog.text.count("replay_chunk_not_written") == 1


def test_where_no_replay_is_whole_the_newest_checkpoint_goes_on_without_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    replay, store = begun(), CheckpointStore(tmp_path, retain=2)
    config = parse(TrainerConfig, JOB, path="")
    with files_of(replay, tmp_path) as files:
        append(replay, 900, seed=1)
        for step in (10, 20):
            kept = files.keep()
            digest = identity_digest(config)
            store.save(kept.state, step=step, updates=step, attempt=1, job_digest=digest, beside=kept.files)
    shared = next(iter(kept.files))
    (tmp_path / shared).write_bytes(b"damaged")

    found = find_checkpoint(store, config)

    assert found is not None
    assert (found[0].step, "replay" in found[1]) == (20, False)
    assert "replay_given_up" in caplog.text
    store.manifest_path(10).with_suffix(".pt").unlink()
    store.manifest_path(20).with_suffix(".pt").unlink()
    with pytest.raises(CheckpointError, match="none of 2 checkpoints can be read"):
        find_checkpoint(store, config)


def test_a_disk_that_refuses_costs_that_checkpoint_alone(tmp_path: Path) -> None:
    place = tmp_path / "checkpoints"
    replay, store = begun(), CheckpointStore(place, retain=2)
    append(replay, 500, seed=1)
    with files_of(replay, place) as files:
        place.write_text("no directory can be made here")
        files.write_behind()
        with pytest.raises(OSError, match="checkpoints"):
            files.keep()

        place.unlink()
        save(store, files, 10)

    assert_same(replay, restored(store, [])[0])
