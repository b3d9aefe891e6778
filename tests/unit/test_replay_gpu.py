"""With a CUDA device, frames on it and frames in host memory give the same samples."""

import numpy as np
import pytest
import torch

from stepstream_trainer.replay import Outcomes, Replay, place_frames
from stepstream_trainer.rows import Array
from tests.support.replays import layout_of, options_of

pytestmark = pytest.mark.gpu

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.mark.parametrize("shape", [(8, 12), (5, 7), (3,), ()])
def test_samples_are_the_same_wherever_frames_are_kept(shape: tuple[int, ...]) -> None:
    options, layout = options_of(rows=30, slots=4, n_step=2, prioritized=True), layout_of(shape, 4)
    assert place_frames(options, layout, CUDA) == CUDA
    replays = [
        Replay(options, layout, device=device, frames_device=frames_device)
        for device, frames_device in ((CPU, CPU), (CUDA, CPU), (CUDA, CUDA))
    ]
    for replay in replays:
        play(replay, np.random.default_rng(0))
    reference, *others = [replay.sample(64, draw_number=1, importance_exponent=0.4) for replay in replays]
    for drawn in others:
        assert drawn.index_N.tolist() == reference.index_N.tolist()
        for name in ("observation_N", "action_N", "return_N", "next_observation_N", "bootstrap_N", "weight_N"):
            assert getattr(drawn, name).device.type == "cuda"
            assert torch.equal(getattr(drawn, name).cpu(), getattr(reference, name))


def test_a_chunk_that_was_read_from_the_device_is_the_one_that_host_memory_holds() -> None:
    options, layout = options_of(rows=30, slots=4), layout_of((8, 12), 4)
    replays = [Replay(options, layout, device=CUDA, frames_device=place) for place in (CPU, CUDA)]
    for replay in replays:
        play(replay, np.random.default_rng(0))
    host, device = (replay.read_chunk(0) for replay in replays)
    for name, array in host.items():
        np.testing.assert_array_equal(device[name], array)


def play(replay: Replay, random: np.random.Generator) -> None:
    """Fifty rows of four slots, with ends."""
    layout = replay.layout

    def frames() -> Array:
        return random.integers(0, 99, (4, *layout.frame_shape)).astype(layout.dtype)

    replay.begin(slice(0, 4), frames())
    for _ in range(50):
        terminated, truncated = random.random(4) < 0.1, random.random(4) < 0.1
        outcomes = Outcomes(
            action_n=random.integers(0, 5, 4),
            reward_n=random.normal(size=4).astype(np.float32),
            terminated_n=terminated,
            truncated_n=truncated,
            ended_n=terminated | truncated,
            observation_n=frames(),
            final_observation_n=frames(),
        )
        replay.append(slice(0, 4), outcomes)
