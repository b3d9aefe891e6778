"""Slots move, simulators die and come back, and threads are slow: in whatever order, the loop gets its rows.

One thread does everything, a move at a time, in an order that a seed decides. The simulators' end is the real one, with
a toy for an environment.
"""

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stepstream_trainer.learner.lanes import Lanes
from stepstream_trainer.learner.leases import LeaseTable
from stepstream_trainer.learner.leasing import Leasing, Stream, StreamOverError, Turn
from stepstream_trainer.learner.slots import LaneStart, Slots
from stepstream_trainer.rows import Rows, Spaces
from stepstream_trainer.simulator.environments import Step
from stepstream_trainer.simulator.episodes import LeasedEpisodes, SlotStart
from tests.support.data_plane import Counts

SPACES = Spaces(shape=(), dtype=np.dtype(np.float32), num_actions=4, num_categories=0)
NUM_SLOTS, NUM_GROUPS = 16, 2
MOVES = 16_000
MOVES_UNDISTURBED = 500
"""After so many without a step nobody is killed any more."""
MOVES_WITHOUT_A_STEP = 8_000
"""So many never happen in a job that goes on: a step takes some 100."""


class Toy:
    """n environments whose episodes follow from their seeds and are a few steps long. They observe their steps."""

    spaces = SPACES
    episodes_per_seed = 1

    def __init__(self, size: int) -> None:
        self._seed = np.zeros(size, np.int64)
        self._step = np.zeros(size, np.int64)

    def reset(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64], _: Any = 0) -> NDArray[np.float32]:
        self._seed[mask], self._step[mask] = seeds % 997, 0
        return self._observed()

    def step(self, _: NDArray[np.int32]) -> Step:
        self._step += 1
        over = self._step > self._seed % 11
        return Step(
            observation=self._observed(),
            reward=np.ones(len(over), np.float32),
            terminated=over & (self._seed % 3 > 0),
            truncated=over & (self._seed % 3 == 0),
            life_lost=np.zeros(len(over), np.bool_),
        )

    def close(self) -> None: ...

    def _observed(self) -> NDArray[np.float32]:
        return (self._seed + self._step / 64).astype(np.float32)


class Whim(Toy):
    """Episodes that follow from nothing."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._chance = np.random.default_rng(size)

    def reset(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64], _: Any = 0) -> NDArray[np.float32]:
        return super().reset(mask, self._chance.integers(0, 997, len(seeds)))


@dataclass(slots=True)
class Play:
    """One stream of a simulator, from its offer on."""

    stream: Stream
    laziness: float
    """How often its turn to move passes by."""
    toy: type[Toy]
    lanes: Lanes | None = None
    episodes: LeasedEpisodes | None = None
    rows: Rows | None = None
    turn: Turn | None = None

    def move(self, leasing: Leasing) -> None:
        """Whatever is next. Raises StreamOverError."""
        if self.lanes is None:
            self.lanes = leasing.wait_lease(self.stream, 0.0)
        elif self.episodes is None:
            starts = [started(start) for start in self.stream.starts]
            self.episodes = LeasedEpisodes(self.toy(len(starts)), 1, starts)
            self.rows = self.episodes.rebuild()
        elif self.rows is not None:
            leasing.write_rows(self.stream, self.rows)
            self.rows = None
        elif self.turn is None:
            self.turn = leasing.wait_turn(self.stream, 0.0)
        else:
            self.episodes.release(self.turn.release)
            for slot, episode in self.turn.actions.adopted:
                self.episodes.adopt(slot, episode)
            self.rows, self.turn = self.episodes.step(self.turn.actions.action), None


def started(start: LaneStart) -> SlotStart:
    return SlotStart(
        slot=start.slot,
        global_slot=start.global_slot,
        episode=start.episode,
        actions=np.frombuffer(start.actions, np.int32),
        later=start.later,
        held=(start.held.actions, start.held.checksum) if start.held else None,
    )


@dataclass(slots=True)
class World:
    """A learner's slots, a loop that serves its groups in turn, and simulators that come and go."""

    rng: random.Random
    slots: Slots
    expected: int
    toy: type[Toy] = Toy
    now: float = 0.0
    steps: int = 0
    lives: int = 0
    plays: dict[str, list[Play]] = field(default_factory=dict)
    incarnations: dict[str, int] = field(default_factory=dict)
    lost: list[Stream] = field(default_factory=list)
    """Streams of killed simulators, which the learner does not know of yet."""
    counts: Counts = field(default_factory=Counts)
    leasing: Leasing = field(init=False)

    def __post_init__(self) -> None:
        groups = [range(group.start, group.stop) for group in self.slots.group_slices]
        table = LeaseTable(groups, expected=self.expected, max_lease_slots=NUM_SLOTS)
        self.leasing = Leasing(self.slots, table, self.counts, clock=lambda: self.now)
        self.leasing.begin()

    def move(self, *, disturb: bool) -> None:
        if self.rng.random() < 0.01:
            self.start_or_kill(self.rng.choice("abc"), kill=disturb)
        kind = self.rng.random()
        if kind < 0.1 and self.lost:
            self.leasing.end(self.lost.pop(self.rng.randrange(len(self.lost))))
        elif kind < 0.15:
            self.now += 0.25
            self.leasing.look()
        elif kind < 0.4:
            self.serve()
        elif self.plays:
            self.simulate(self.rng.choice(sorted(self.plays)))

    def serve(self) -> None:
        group = self.steps % NUM_GROUPS
        if self.slots.wait_group(group, 0.0):
            self.slots.post_actions(group, np.zeros(NUM_SLOTS // NUM_GROUPS, np.int64))
            self.steps += 1

    def simulate(self, name: str) -> None:
        plays = self.plays[name]
        if all(play.lanes is not None for play in plays):  # there is always a spare offer
            stream = self.leasing.offer(name, self.incarnations[name], lambda: None)
            plays.append(Play(stream, self.rng.choice([0.0, 0.7]), self.toy))
        play = self.rng.choice(plays)
        if self.rng.random() < play.laziness:
            return
        try:
            play.move(self.leasing)
        except StreamOverError:
            self.leasing.end(play.stream)
            plays.remove(play)

    def start_or_kill(self, name: str, *, kill: bool) -> None:
        """It is started again sooner than it is killed."""
        if name not in self.plays:
            self.lives += 1
            self.plays[name], self.incarnations[name] = [], self.lives
        elif kill and self.rng.random() < 0.2:
            self.lost += [play.stream for play in self.plays.pop(name)]


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("seed", range(12))
def test_in_whatever_order_things_happen_the_loop_gets_its_rows(seed: int, deterministic: bool) -> None:
    world = disturbed(seed, Toy, deterministic=deterministic)
    assert world.counts.differing == 0


@pytest.mark.parametrize("seed", range(4))
def test_so_it_does_where_episodes_are_rebuilt_otherwise_and_it_is_told(seed: int) -> None:
    assert disturbed(seed, Whim, deterministic=True).counts.differing > 0


def disturbed(seed: int, toy: type[Toy], *, deterministic: bool) -> World:
    """After many moves, with a step every so often."""
    slots = Slots(SPACES, num_slots=NUM_SLOTS, groups=NUM_GROUPS, deterministic=deterministic)
    rng = random.Random(seed)
    world = World(rng, slots, expected=rng.choice([1, 2, 8]), toy=toy)
    newest_step = 0
    for moves in range(MOVES):
        before = world.steps
        world.move(disturb=moves - newest_step < MOVES_UNDISTURBED)
        newest_step = moves if world.steps > before else newest_step
        assert moves - newest_step < MOVES_WITHOUT_A_STEP, (world.steps, world.leasing.service())
    return world
