"""Learners that step together: two with half the samples each take the step of one with all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace

import pytest
import torch
from torch import nn

from stepstream_trainer.algorithms.batch import RolloutBatch
from stepstream_trainer.algorithms.descent import ClippedDescent
from stepstream_trainer.algorithms.flat import FlatParameters
from stepstream_trainer.algorithms.losses import normalised
from stepstream_trainer.algorithms.networks import ActorCritic, build_actor_critic
from stepstream_trainer.algorithms.observations import Vectors
from stepstream_trainer.algorithms.precision import Precision
from stepstream_trainer.algorithms.together import Together, normalised_together
from stepstream_trainer.config import A2CParameters, PolicyGradientParameters, PPOParameters
from stepstream_trainer.config.scaling import LearningRateScaling
from stepstream_trainer.learner.optimiser import build_update
from tests.support.rollout_batches import NUM_ACTIONS, random_batch

FLOAT32 = Precision(device=torch.device("cpu"), dtype=torch.float32)
SLOTS = 4


class Pair:
    """Two threads of this process as learners."""

    size = 2

    def __init__(self) -> None:
        self._barrier = threading.Barrier(2)
        self._given: list[torch.Tensor] = []

    def average(self, values: torch.Tensor) -> None:
        self._given.append(values.clone())
        self._barrier.wait(20)
        mean = (self._given[0] + self._given[1]) / 2
        self._barrier.wait(20)
        values.copy_(mean)
        if self._barrier.wait(20) == 0:
            self._given.clear()
        self._barrier.wait(20)

    def close(self) -> None: ...


def both(work: Callable[[int, Together], torch.Tensor]) -> list[torch.Tensor]:
    """What each of two learners makes of it."""
    pair = Pair()
    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(lambda rank: work(rank, pair), (0, 1)))


def half(batch: RolloutBatch, rank: int) -> RolloutBatch:
    """One learner's slots."""
    mine = slice(rank * SLOTS // 2, (rank + 1) * SLOTS // 2)
    names = [field.name for field in fields(batch) if field.name.endswith("_TB")]
    return replace(
        batch, next_value_B=batch.next_value_B[mine], **{name: getattr(batch, name)[:, mine] for name in names}
    )


def build() -> ActorCritic:
    return build_actor_critic(Vectors(size=5), NUM_ACTIONS, seed=7, precision=FLOAT32)


def test_advantages_are_normalised_over_all_samples() -> None:
    advantage = torch.randn(6, SLOTS, generator=torch.Generator().manual_seed(1))
    halves = both(lambda rank, pair: normalised_together(advantage[:, 2 * rank : 2 * rank + 2], pair))
    torch.testing.assert_close(torch.cat(halves, dim=1), normalised(advantage))


def test_gradients_are_averaged_before_they_are_clipped() -> None:
    class Plain:
        """Steps by the gradients as they are."""

        def __init__(self, flat: FlatParameters) -> None:
            self._flat = flat

        def step(self, learning_rate: float) -> None:
            self._flat.values.sub_(self._flat.gradients, alpha=learning_rate)

        def state_dict(self) -> dict[str, object]:
            return {}

        def load_state_dict(self, state: dict[str, object]) -> None:
            pass

    def step(rank: int, pair: Together) -> torch.Tensor:
        flat = FlatParameters(nn.Linear(1, 1, bias=False), torch.device("cpu"))
        flat.values.zero_()
        flat.gradients.zero_()
        flat.gradients[0] = 10.0 if rank == 0 else -4.0
        norm = ClippedDescent(flat, Plain(flat), max_grad_norm=2.0, together=pair).step(1.0)
        return torch.stack([flat.values[0], norm])

    for made in both(step):
        torch.testing.assert_close(made, torch.tensor([-2.0, 3.0]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "parameters",
    [
        A2CParameters(),
        A2CParameters(normalize_advantages=True),
        A2CParameters(learning_rate_scaling=LearningRateScaling.Linear),
        PPOParameters(minibatch_size=6 * SLOTS, epochs=3),
        PPOParameters(minibatch_size=6 * SLOTS, epochs=3, target_kl=1e-4),
    ],
    ids=["A2C", "A2C, normalised", "A2C, rate scaled", "PPO", "PPO, rate by divergence"],
)
def test_two_learners_take_the_step_of_one_with_all_their_slots(parameters: PolicyGradientParameters) -> None:
    batch, alone = random_batch(horizon=6, slots=SLOTS), build()
    update = build_update(parameters, alone, FLOAT32, seed=3)
    for number in range(3):
        update.update(batch, progress=0.0, update_number=number)

    def learn(rank: int, pair: Together) -> torch.Tensor:
        network = build()
        mine = build_update(parameters, network, FLOAT32, seed=3, together=pair)
        for number in range(3):
            mine.update(half(batch, rank), progress=0.0, update_number=number)
        return network.flat.values.clone()

    first, second = both(learn)
    assert torch.equal(first, second), "to the bit"
    torch.testing.assert_close(first, alone.flat.values, rtol=1e-4, atol=1e-5)
