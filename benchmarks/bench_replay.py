"""What the replay memory does in a second at a million steps, beside what the machine can copy.

    python -m benchmarks.bench_replay             1,000,000 steps of 84x84 (about four minutes, 7.1 GB)
    python -m benchmarks.bench_replay --quick     50,000 steps, one short round; writes no record

- uniform, prioritised: `Replay.sample`, whole: drawing, returns, two stacks of four frames a sample
- plain copy: as many bytes of the ring, from one random place each time, into memory that is there: the limit
- priorities: `Replay.update_priorities` of a batch that was drawn before
- rows in: `Replay.append` of a row of every slot
- chunks out: `Replay.read_chunk`, which is what training stands still for while a replay is saved
- saving: `ReplayFiles` beside a game that goes on at a steady pace: what handing chunks over, and a checkpoint at the
  end, stop it for, in a directory of the disk that holds /tmp

All but saving take turns within a round, so that a machine that slows down slows all of them; shown are medians.
"""

import argparse
import copy
import itertools
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.measuring import calls_per_second
from benchmarks.record import Record, Table, describe_machine
from stepstream_trainer.algorithms.observations import BlockImages
from stepstream_trainer.algorithms.precision import keep_freed_memory
from stepstream_trainer.learner.replay_files import ReplayFiles
from stepstream_trainer.learner.stints import slot_steps
from stepstream_trainer.replay import FrameLayout, Outcomes, PriorityOptions, Replay, ReplayOptions, replay_bytes
from stepstream_trainer.replay.frames import HostFrames

BATCHES = (32, 512, 2048)
SLOTS = 64
NUM_ACTIONS = 6
EPISODE_STEPS = 1000
LAYOUT = FrameLayout(
    frame_shape=(84, 84), dtype=np.dtype(np.uint8), network_input=BlockImages(rows=21, columns=21, frames=4)
)
SAMPLE_BYTES = 2 * LAYOUT.depth * LAYOUT.frame_bytes
SAVED_FRAMES = 100_000
"""What a pause is stated for."""
PACE = 2500
"""Steps a second of the game that goes on while its replay is saved."""

Work = Callable[[], object]


def options(capacity_steps: int) -> ReplayOptions:
    """EpsilonRainbow's."""
    return ReplayOptions(
        capacity_steps=capacity_steps,
        num_slots=SLOTS,
        n_step=3,
        discount=0.99,
        seed=1,
        priority=PriorityOptions(exponent=0.5),
    )


class Player:
    """Rows of made-up games: noise, an episode's end in a thousand steps, a tenth of them truncations."""

    def __init__(self, replay: Replay) -> None:
        self._replay = replay
        self._random = np.random.default_rng(0)
        self._frames = itertools.cycle(self._random.integers(0, 256, (16, SLOTS, 84, 84), np.uint8))
        replay.begin(slice(0, SLOTS), next(self._frames))

    def append(self) -> None:
        chance = self._random.random(SLOTS) * EPISODE_STEPS
        frame = next(self._frames)
        outcomes = Outcomes(
            action_n=self._random.integers(0, NUM_ACTIONS, SLOTS),
            reward_n=np.ones(SLOTS, np.float32),
            terminated_n=(chance >= 0.1) & (chance < 1.0),
            truncated_n=chance < 0.1,
            ended_n=chance < 1.0,
            observation_n=frame,
            final_observation_n=frame,
        )
        self._replay.append(slice(0, SLOTS), outcomes)


def full_replay(capacity_steps: int) -> tuple[Replay, Player]:
    """Its ring has come round and its priorities are all different."""
    replay = Replay(options(capacity_steps), LAYOUT, device=torch.device("cpu"))
    player = Player(replay)
    for _ in range(capacity_steps // SLOTS + 100):
        player.append()
    random = np.random.default_rng(1)
    for number in range(2 * capacity_steps // 8192):
        index = replay.draw(8192, number)
        replay.update_priorities(index, random.exponential(size=len(index)))
    return replay, player


def sampling(replay: Replay, size: int) -> Work:
    numbers = itertools.count()
    return lambda: replay.sample(size, next(numbers), importance_exponent=0.4)


def plain_copy(replay: Replay, size: int) -> Work:
    """From one random place of the ring."""
    assert isinstance(replay.ring.frames, HostFrames)
    frames = replay.ring.frames.frames.reshape(-1)
    target, random = np.empty(size * SAMPLE_BYTES, np.uint8), np.random.default_rng(2)

    def work() -> None:
        begin = int(random.integers(0, len(frames) - len(target)))
        np.copyto(target, frames[begin : begin + len(target)])

    return work


def priorities(replay: Replay, size: int) -> Work:
    """Of batches drawn beforehand, in turn."""
    random = np.random.default_rng(3)
    batches = itertools.cycle([(replay.draw(size, n), random.exponential(size=size)) for n in range(50)])
    return lambda: replay.update_priorities(*next(batches))


def medians(works: dict[str, Work], *, rounds: int, seconds: float) -> dict[str, float]:
    """Calls a second of each."""
    rates = defaultdict(list)
    for _ in range(rounds):
        for name, work in works.items():
            rates[name].append(calls_per_second(work, seconds))
    return {name: statistics.median(rates[name]) for name in works}


def sampling_tables(replay: Replay, *, rounds: int, seconds: float) -> tuple[Table, Table]:
    uniform = copy.copy(replay)
    uniform.tree = None
    sampled, changed = [], []
    for size in BATCHES:
        works = {
            "uniform": sampling(uniform, size),
            "prioritised": sampling(replay, size),
            "copy": plain_copy(replay, size),
            "priorities": priorities(replay, size),
        }
        rate = {name: size * calls for name, calls in medians(works, rounds=rounds, seconds=seconds).items()}
        gigabytes = rate["copy"] * SAMPLE_BYTES / 1e9
        shares = (rate["uniform"] / rate["copy"], rate["prioritised"] / rate["copy"])
        sampled.append((size, rate["uniform"], rate["prioritised"], rate["copy"], gigabytes, *shares))
        changed.append((size, rate["priorities"], 1e6 * size / rate["priorities"]))
        print(*(f"{cell:,.3g}" for cell in (*sampled[-1], rate["priorities"])), flush=True)
    header = ("batch", "uniform", "prioritised", "plain copy", "copy GB/s", "uniform of copy", "prioritised of copy")
    return (
        Table(title="Samples a second", header=header, rows=sampled),
        Table(title="Priority updates", header=("batch", "priorities a second", "us a batch"), rows=changed),
    )


def other_table(replay: Replay, player: Player, *, rounds: int, seconds: float) -> Table:
    numbers = itertools.cycle(range(len(replay.chunk_versions()) - 1))
    works: dict[str, Work] = {"rows": player.append, "chunks": lambda: replay.read_chunk(next(numbers))}
    rate = medians(works, rounds=rounds, seconds=seconds)
    frames_a_chunk = len(replay.read_chunk(0)["frames"])
    pause = SAVED_FRAMES / (rate["chunks"] * frames_a_chunk)
    return Table(
        title="Rows in, chunks out",
        header=("what", "value"),
        rows=[
            (f"steps in a second, {SLOTS} slots a call", rate["rows"] * SLOTS),
            ("ms to copy a chunk", 1e3 / rate["chunks"]),
            (f"seconds to copy all chunks of {SAVED_FRAMES:,} frames", pause),
        ],
    )


def saving_table(frames: int) -> Table:
    """A new replay fills, is written behind, and is then kept."""
    replay = Replay(options(frames), LAYOUT, device=torch.device("cpu"))
    player, stops = Player(replay), list[float]()
    with tempfile.TemporaryDirectory(prefix="stepstream-bench-") as directory:
        files = ReplayFiles(replay, Path(directory))
        begun = time.monotonic()
        for stint in range(frames // (SLOTS * slot_steps(SLOTS))):
            for _ in range(slot_steps(SLOTS)):
                player.append()
            stops.append(seconds_of(files.write_behind))
            due = begun + (stint + 1) * SLOTS * slot_steps(SLOTS) / PACE
            time.sleep(max(0.0, due - time.monotonic()))
        kept = seconds_of(files.keep)
        files.close()
    return Table(
        title=f"Saving {frames:,} frames of a game of {PACE:,} steps a second",
        header=("what training stands still for", "seconds"),
        rows=[
            ("handing chunks to the writer, in all", sum(stops)),
            ("handing a chunk over, at the longest", max(stops)),
            ("a checkpoint's replay at the end", kept),
        ],
    )


def seconds_of(work: Work) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    rounds, seconds, capacity = (1, 0.3, 50_000) if arguments.quick else (5, 1.0, 1_000_000)
    machine = describe_machine()
    keep_freed_memory()
    replay, player = full_replay(capacity)
    record = Record(
        name="replay",
        title="The replay memory alone",
        settings={
            "capacity steps": capacity,
            "GB": replay_bytes(options(capacity), LAYOUT) / 1e9,
            "steps of return": options(capacity).n_step,
            "bytes a sample": SAMPLE_BYTES,
            "rounds": rounds,
            "seconds a measurement": seconds,
        },
        machine=machine,
        tables=(
            *sampling_tables(replay, rounds=rounds, seconds=seconds),
            other_table(replay, player, rounds=rounds, seconds=seconds),
            saving_table(capacity // 10),
        ),
    )
    print(record.markdown())
    if not arguments.quick:
        print(record.write())


if __name__ == "__main__":
    main()
