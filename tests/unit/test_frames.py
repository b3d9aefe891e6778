"""Frame stacks equal the plain definition: the last `depth` frames, zeros before an episode's first."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stepstream_trainer.learner.frames import BLOCK, BlockStack, ChannelStack, FrameStack, NoStack

Frames = NDArray[np.uint8]


def plain_stack(history: list[Frames], depth: int) -> Frames:
    """[H, W, depth * C] of one slot, oldest frame first; `history` are the frames of the current episode."""
    frames = [frame if frame.ndim == 3 else frame[..., None] for frame in history[-depth:]]
    missing = [np.zeros_like(frames[0])] * (depth - len(frames))
    return np.concatenate([*missing, *frames], axis=-1)


def as_blocks(stack: Frames, depth: int) -> Frames:
    """Space-to-depth of a plain stack, straight from the definition."""
    height, width, channels = stack.shape
    colours = channels // depth
    blocks = stack.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK, depth, colours)
    return blocks.transpose(0, 2, 4, 1, 3, 5).reshape(height // BLOCK, width // BLOCK, -1)


def stacks_of(stack: FrameStack, frames_tn: Frames, starts_tn: NDArray[np.bool_]) -> Frames:
    """Feed frames [t, n, ...] and give every stack that came of them, [t, n, *stacked]."""
    out = np.full((len(frames_tn), frames_tn.shape[1], *stack.stacked_shape), 77, np.uint8)
    for t, newest in enumerate(frames_tn):
        stack.advance(out[t - 1], newest, out[t])
        for lane in np.flatnonzero(starts_tn[t]):
            stack.start(newest[lane : lane + 1], out[t, lane : lane + 1])
    return out


@given(
    shape=st.sampled_from([(8, 12), (12, 8, 3), (6, 7), (5, 9, 3)]),
    depth=st.integers(1, 4),
    seed=st.integers(0, 2**16),
    start_rate=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_stacks_hold_the_newest_frames_of_the_episode_and_zeros_before_it(
    shape: tuple[int, ...], depth: int, seed: int, start_rate: float
) -> None:
    random = np.random.default_rng(seed)
    frames = random.integers(0, 256, (9, 3, *shape), np.uint8)
    starts = random.random((9, 3)) < start_rate
    starts[0] = True
    in_blocks = shape[0] % BLOCK == 0 and shape[1] % BLOCK == 0
    stack: FrameStack = BlockStack(shape, depth) if in_blocks else ChannelStack(shape, depth)
    got = stacks_of(stack, frames, starts)
    for lane in range(3):
        history: list[Frames] = []
        for t in range(9):
            history = [] if starts[t, lane] else history
            history.append(frames[t, lane])
            expected = plain_stack(history, depth)
            np.testing.assert_array_equal(got[t, lane], as_blocks(expected, depth) if in_blocks else expected)


@pytest.mark.parametrize("shape", [(), (4,), (3, 2)])
def test_without_a_stack_the_network_reads_the_newest_observation(shape: tuple[int, ...]) -> None:
    newest = np.arange(2 * int(np.prod(shape)), dtype=np.float32).reshape(2, *shape)
    out = np.empty_like(newest)
    NoStack(shape).advance(out, newest, out)
    np.testing.assert_array_equal(out, newest)
