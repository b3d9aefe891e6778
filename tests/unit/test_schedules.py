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


Epochs = list[tuple[torch.Tensor, ...]]


def draw(seed: int = 1, update_number: int = 2, epochs: int = 3, samples: int = 10, size: int = 4) -> Epochs:
    return list(
        minibatches(seed=seed, update_number=update_number, epochs=epochs, num_samples=samples, minibatch_size=size)
    )


@given(epochs=st.integers(1, 4), samples=st.integers(1, 60), size=st.integers(1, 70), seed=st.integers(0, 2**63))
def test_every_epoch_visits_every_sample_once(epochs: int, samples: int, size: int, seed: int) -> None:
    drawn = draw(epochs=epochs, samples=samples, size=size, seed=seed)

    assert len(drawn) == epochs
    for epoch in drawn:
        assert (np.sort(torch.cat(epoch)) == np.arange(samples)).all()
        assert all(len(minibatch) == size for minibatch in epoch[:-1])


def test_minibatches_depend_on_the_seed_and_the_update_alone() -> None:
    def order(epochs: Epochs) -> list[list[int]]:
        return [torch.cat(epoch).tolist() for epoch in epochs]

    assert order(draw()) == order(draw())
    assert order(draw(seed=2)) != order(draw())
    assert order(draw(update_number=3)) != order(draw())


def test_epochs_differ() -> None:
    first, second, _ = draw(samples=100)

    assert not torch.equal(torch.cat(first), torch.cat(second))
