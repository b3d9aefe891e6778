"""Step sizes over a job and with the batch; minibatches that a resume draws again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stepstream_trainer.algorithms.permutations import minibatches
from stepstream_trainer.algorithms.schedules import annealed, learning_rate
from stepstream_trainer.config import LearningRateScaling, PPOParameters


@pytest.mark.parametrize(("progress", "expected"), [(0.0, 0.2), (0.25, 0.15), (1.0, 0.0)])
def test_annealing_falls_linearly_to_zero(progress: float, expected: float) -> None:
    assert annealed(0.2, progress=progress, anneal=True) == pytest.approx(expected)
    assert annealed(0.2, progress=progress, anneal=False) == 0.2


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [(LearningRateScaling.None_, 1e-3), (LearningRateScaling.Sqrt, 2e-3), (LearningRateScaling.Linear, 4e-3)],
)
def test_the_learning_rate_follows_the_batch(scaling: LearningRateScaling, expected: float) -> None:
    parameters = PPOParameters(learning_rate=1e-3, learning_rate_scaling=scaling, reference_batch_size=128)

    assert learning_rate(parameters, batch_size=512, progress=0.7) == pytest.approx(expected)


def test_annealing_and_scaling_multiply() -> None:
    parameters = PPOParameters(
        learning_rate=1e-3, anneal=True, learning_rate_scaling=LearningRateScaling.Linear, reference_batch_size=256
    )

    assert learning_rate(parameters, batch_size=512, progress=0.75) == pytest.approx(0.5e-3)


def draw(
    seed: int = 1, update_number: int = 2, epochs: int = 3, samples: int = 10, size: int = 4
) -> list[torch.Tensor]:
    return list(
        minibatches(seed=seed, update_number=update_number, epochs=epochs, num_samples=samples, minibatch_size=size)
    )


@given(epochs=st.integers(1, 4), samples=st.integers(1, 60), size=st.integers(1, 70), seed=st.integers(0, 2**63))
def test_every_epoch_visits_every_sample_once(epochs: int, samples: int, size: int, seed: int) -> None:
    indices = torch.cat(draw(epochs=epochs, samples=samples, size=size, seed=seed)).numpy().reshape(epochs, samples)

    assert (np.sort(indices, axis=1) == np.arange(samples)).all()


def test_minibatches_depend_on_the_seed_and_the_update_alone() -> None:
    assert all(torch.equal(a, b) for a, b in zip(draw(), draw(), strict=True))
    for other in (draw(seed=2), draw(update_number=3)):
        assert not torch.equal(torch.cat(other), torch.cat(draw()))


def test_epochs_differ() -> None:
    first, second, _ = torch.cat(draw(samples=100)).view(3, 100)

    assert not torch.equal(first, second)
