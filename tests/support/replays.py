"""A replay that is obviously right: it forgets nothing, and works out every sample from whole episodes.

Frames are all different, so an observation's bytes say which step it belongs to.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from enum import Enum, auto

import numpy as np
import torch
from numpy.typing import NDArray

from stepstream_trainer.algorithms.observations import BlockImages, Categories, Images, ObservationSpec, Vectors
from stepstream_trainer.replay import FrameLayout, Outcomes, PriorityOptions, Replay, ReplayOptions, ReplaySample

Array = NDArray[np.generic]
BLOCK = 4


class Fate(Enum):
    """What an action led to."""

    GO_ON = auto()
    LOSE_LIFE = auto()
    TERMINATE = auto()
    TRUNCATE = auto()
    TRUNCATE_AND_LOSE_LIFE = auto()
    BE_LOST = auto()


TERMINAL = {Fate.LOSE_LIFE, Fate.TERMINATE, Fate.TRUNCATE_AND_LOSE_LIFE}
CUT = {Fate.TRUNCATE, Fate.TRUNCATE_AND_LOSE_LIFE}
ENDED = {Fate.TERMINATE, *CUT}


def layout_of(shape: tuple[int, ...], depth: int = 1) -> FrameLayout:
    """Blocks and images as `observing` would choose them, vectors of float32, categories of int64."""
    if shape == ():
        return FrameLayout(frame_shape=shape, dtype=np.dtype(np.int64), network_input=Categories(count=2**40))
    if len(shape) == 1:
        return FrameLayout(frame_shape=shape, dtype=np.dtype(np.float32), network_input=Vectors(size=shape[0]))
    height, width, colours = (*shape, 1)[:3]
    images: ObservationSpec = Images(height=height, width=width, channels=depth * colours)
    if height % BLOCK == 0 and width % BLOCK == 0:
        images = BlockImages(rows=height // BLOCK, columns=width // BLOCK, frames=depth, colours=colours)
    return FrameLayout(frame_shape=shape, dtype=np.dtype(np.uint8), network_input=images)


def options_of(
    *, rows: int, slots: int = 1, n_step: int = 1, prioritized: bool = False, seed: int = 0
) -> ReplayOptions:
    return ReplayOptions(
        capacity_steps=rows * slots,
        num_slots=slots,
        n_step=n_step,
        discount=0.9,
        seed=seed,
        priority=PriorityOptions(exponent=0.6) if prioritized else None,
    )


@dataclass(slots=True)
class Episode:
    """`steps[i]` = (action, reward, whether the return ends) left `frames[i]`."""

    frames: list[Array]
    steps: list[tuple[int, float, bool]] = field(default_factory=list)
    over: bool = False
    seen_from_its_start: bool = True


@dataclass(frozen=True, slots=True)
class Expected:
    action: int
    discounted: float
    next_observation: bytes
    bootstrap: float


class PlainReplay:
    """The whole history of one slot."""

    def __init__(self, options: ReplayOptions, layout: FrameLayout, first: Array, *, mid_episode: bool) -> None:
        self._options = options
        self._layout = layout
        self._episodes = [Episode([first], seen_from_its_start=not mid_episode)]

    def append(self, fate: Fate, action: int, reward: float, newest: Array, final: Array) -> None:
        episode = self._episodes[-1]
        if fate is not Fate.BE_LOST:
            episode.steps.append((action, reward, fate in TERMINAL))
        if fate in ENDED or fate is Fate.BE_LOST:
            episode.over = True
            if fate is Fate.TRUNCATE:
                episode.frames.append(final)
            self._episodes.append(Episode([newest]))
        else:
            episode.frames.append(newest)

    def expected(self) -> dict[bytes, Expected]:
        """Every step that can be sampled, by its observation: those whose frames are among the newest L, and whose
        return is complete."""
        lengths = [len(episode.frames) for episode in self._episodes]
        forgotten = sum(lengths) - self._options.rows_per_slot
        found = {}
        for episode, offset in zip(self._episodes, itertools.accumulate(lengths, initial=0), strict=False):
            for step in range(len(episode.steps)):
                back = step - self._layout.depth + 1
                whole = back >= 0 or episode.seen_from_its_start
                sample = self._sample(episode, step)
                if whole and offset + max(back, 0) >= forgotten and sample is not None:
                    found[self._stack(episode, step).tobytes()] = sample
        return found

    def _sample(self, episode: Episode, step: int) -> Expected | None:
        discounted = 0.0
        for taken in range(self._options.n_step):
            if step + taken == len(episode.steps):
                return self._bootstrapped(episode, step, taken, discounted) if episode.over else None
            _, reward, terminal = episode.steps[step + taken]
            discounted += self._options.discount**taken * reward
            if terminal:
                zeros = bytes(self._stack(episode, step).nbytes)
                return Expected(episode.steps[step][0], discounted, zeros, 0.0)
        return self._bootstrapped(episode, step, self._options.n_step, discounted)

    def _bootstrapped(self, episode: Episode, step: int, taken: int, discounted: float) -> Expected:
        following = self._stack(episode, step + taken).tobytes()
        return Expected(episode.steps[step][0], discounted, following, self._options.discount**taken)

    def _stack(self, episode: Episode, index: int) -> Array:
        """As the network reads it: older frames first, zeros before the episode's first."""
        depth, shape = self._layout.depth, self._layout.frame_shape
        if not isinstance(self._layout.network_input, BlockImages | Images):
            return episode.frames[index]
        frames = [frame.reshape(*shape[:2], -1) for frame in episode.frames[max(0, index - depth + 1) : index + 1]]
        zeros = [np.zeros_like(frames[0])] * (depth - len(frames))
        stack: Array = np.concatenate([*zeros, *frames], axis=-1)
        return as_blocks(stack, depth) if isinstance(self._layout.network_input, BlockImages) else stack


def as_blocks(stack: Array, depth: int) -> Array:
    """Space-to-depth of [H, W, depth * colours], straight from the definition."""
    height, width, channels = stack.shape
    split = stack.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK, depth, channels // depth)
    return np.ascontiguousarray(split.transpose(0, 2, 4, 1, 3, 5)).reshape(height // BLOCK, width // BLOCK, -1)


class Pair:
    """A replay and its plain counterpart, fed with the same rows."""

    def __init__(
        self, options: ReplayOptions, layout: FrameLayout, *, groups: int = 1, mid_episode: bool = False, seed: int = 0
    ) -> None:
        self.options = options
        self.layout = layout
        self.replay = Replay(options, layout, device=torch.device("cpu"))
        self._random = np.random.default_rng(seed)
        self._frames = itertools.count(1)
        bounds = [options.num_slots * group // groups for group in range(groups + 1)]
        self._groups = [slice(*pair) for pair in itertools.pairwise(bounds)]
        first = self._new_frames(options.num_slots)
        self.plain = [PlainReplay(options, layout, frame, mid_episode=mid_episode) for frame in first]
        for slots in self._groups:
            self.replay.begin(slots, first[slots], mid_episode=mid_episode)

    def append(self, fates: list[Fate]) -> None:
        """One row of every slot."""
        for slots in self._groups:
            self._append(slots, fates[slots])

    def expected(self) -> dict[bytes, Expected]:
        return {key: value for plain in self.plain for key, value in plain.expected().items()}

    def _append(self, slots: slice, fates: list[Fate]) -> None:
        count = len(fates)
        action, reward = self._random.integers(0, 9, count), self._random.normal(size=count).astype(np.float32)
        newest, final = self._new_frames(count), self._new_frames(count)
        self.replay.append(
            slots,
            Outcomes(
                action_n=action,
                reward_n=reward,
                terminated_n=np.array([fate in TERMINAL for fate in fates]),
                truncated_n=np.array([fate in CUT for fate in fates]),
                ended_n=np.array([fate in ENDED for fate in fates]),
                observation_n=newest,
                final_observation_n=final,
                lost_n=np.array([fate is Fate.BE_LOST for fate in fates]),
            ),
        )
        for lane, plain in enumerate(self.plain[slots]):
            plain.append(fates[lane], int(action[lane]), float(reward[lane]), newest[lane], final[lane])

    def _new_frames(self, count: int) -> Array:
        frames = np.zeros((count, *self.layout.frame_shape), self.layout.dtype)
        for lane in range(count):
            number = next(self._frames)
            if self.layout.dtype == np.uint8:
                frames[lane] = self._random.integers(0, 256, self.layout.frame_shape)
                frames[lane].reshape(-1)[:2] = divmod(number, 256)
            else:
                frames[lane] = number
        return frames


def samples(drawn: ReplaySample) -> dict[bytes, Expected]:
    """What was drawn, by observation."""
    return {
        drawn.observation_N[n].numpy().tobytes(): Expected(
            int(drawn.action_N[n]),
            float(drawn.return_N[n]),
            drawn.next_observation_N[n].numpy().tobytes(),
            float(drawn.bootstrap_N[n]),
        )
        for n in range(len(drawn.action_N))
    }


def everything(replay: Replay) -> dict[bytes, Expected]:
    """Every step of a prioritised replay whose priorities nobody changed: two strata a step leave none out."""
    return samples(replay.sample(2 * len(replay), draw_number=0)) if len(replay) else {}
