"""What a replay takes is known, and compared with what there is, before anything is allocated."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from stepstream_trainer.algorithms.observations import BlockImages
from stepstream_trainer.replay import (
    FrameLayout,
    PriorityOptions,
    Replay,
    ReplayOptions,
    ReplayTooLargeError,
    available_memory_bytes,
    place_frames,
    replay_bytes,
)
from stepstream_trainer.replay.chunks import FIELDS
from stepstream_trainer.replay.layout import refuse_too_large
from tests.support.replays import layout_of, options_of

ATARI = FrameLayout(
    frame_shape=(84, 84),
    dtype=np.dtype(np.uint8),
    network_input=BlockImages(rows=21, columns=21, frames=4),
)


def million(slots: int = 64) -> ReplayOptions:
    return ReplayOptions(
        capacity_steps=1_000_000,
        num_slots=slots,
        n_step=3,
        discount=0.99,
        seed=0,
        priority=PriorityOptions(exponent=0.5),
    )


def test_a_million_atari_steps_take_at_most_7_3_gigabytes() -> None:
    assert 7_056_000_000 < replay_bytes(million(), ATARI) < 7_300_000_000


@pytest.mark.parametrize("prioritized", [False, True])
@pytest.mark.parametrize("shape", [(8, 8), (5, 7), (3,), ()])
def test_the_figure_is_what_is_allocated_but_for_one_frame_of_zeros(shape: tuple[int, ...], prioritized: bool) -> None:
    options, layout = options_of(rows=50, slots=3, prioritized=prioritized), layout_of(shape)
    replay = Replay(options, layout, device=torch.device("cpu"))
    frames = replay.ring.frames.read(slice(None)).nbytes - layout.frame_bytes
    fields = sum(getattr(replay.ring, name).nbytes for name in FIELDS)
    tree = replay.tree.bytes_for(150) if replay.tree else 0
    assert replay_bytes(options, layout) == frames + fields + tree


def test_what_does_not_fit_is_refused_with_what_it_needs_what_there_is_and_what_would_fit() -> None:
    with pytest.raises(ReplayTooLargeError) as caught:
        refuse_too_large(million(), ATARI, available_bytes=2_000_000_000)
    assert str(caught.value) == (
        "spec.algorithm.parameters.replayCapacitySteps: 1,000,000 steps of 7,056 bytes take 7.07 GB, but 2.00 GB of "
        "memory is available; 282,000 steps would fit"
    )
    fitting = dataclasses.replace(million(), capacity_steps=282_000)
    refuse_too_large(fitting, ATARI, available_bytes=2_000_000_000)


def test_without_an_accelerator_frames_are_kept_in_host_memory_if_they_fit() -> None:
    cpu = torch.device("cpu")
    assert place_frames(options_of(rows=50), layout_of((3,)), cpu) == cpu
    with pytest.raises(ReplayTooLargeError):
        place_frames(options_of(rows=10**12), layout_of((3,)), cpu)


MEMINFO = "MemTotal: 9000 kB\nMemAvailable: 4000 kB\n"
VERSION_2 = {"memory.max": "3000000\n", "memory.current": "1000000\n"}
VERSION_1 = {"memory/memory.limit_in_bytes": "1000000\n", "memory/memory.usage_in_bytes": "900000\n"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 4_096_000),
        ({"memory.max": "max\n", "memory.current": "5\n"}, 4_096_000),
        (VERSION_2, 2_000_000),
        ({**VERSION_2, "memory.stat": "anon 7\ninactive_file 400000\nactive_file 50000\n"}, 2_450_000),
        ({"memory.max": "3000000\n", "memory.current": "3500000\n"}, 0),
        (VERSION_1, 100_000),
        ({**VERSION_1, "memory/memory.stat": "cache 1\ntotal_inactive_file 300000\ntotal_active_file 9\n"}, 400_009),
    ],
)
def test_available_is_the_least_of_machine_and_control_group(
    tmp_path: Path, files: dict[str, str], expected: int
) -> None:
    groups = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in {"proc/meminfo": MEMINFO, **groups}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert available_memory_bytes(tmp_path) == expected


def test_where_nothing_tells_any_replay_may_be_tried(tmp_path: Path) -> None:
    assert available_memory_bytes(tmp_path) > 10**18
