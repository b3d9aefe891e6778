"""The store that learners share: one learner takes its path as if alone, and nothing is lost where several push."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import nn

from stepstream_trainer.algorithms.adam import Adam
from stepstream_trainer.algorithms.descent import ClippedDescent, DivergedError, Rule, StoredDescent
from stepstream_trainer.algorithms.flat import Flat, FlatParameters
from stepstream_trainer.algorithms.rmsprop import RMSProp
from stepstream_trainer.learner.ledger import Ledger
from stepstream_trainer.learner.parameter_store import ParameterStore
from stepstream_trainer.learner.store_service import HostedStore

RULES: dict[str, Rule] = {
    "Adam": lambda flat: Adam(flat, epsilon=1e-5),
    "RMSProp": lambda flat: RMSProp(flat, rho=0.9, epsilon=1e-6),
}
PARAMETERS = 1000
GENERATOR = torch.Generator()


class PlainDescent:
    """p <- p - learning rate x gradient: nothing but a sum, whatever the order."""

    def __init__(self, flat: Flat) -> None:
        self._flat = flat

    def step(self, learning_rate: float) -> None:
        self._flat.values.sub_(self._flat.gradients, alpha=learning_rate)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def network() -> FlatParameters:
    torch.manual_seed(3)
    return FlatParameters(nn.Sequential(nn.Linear(20, 30), nn.Linear(30, 10)), torch.device("cpu"))


def gradients(flat: FlatParameters, number: int) -> torch.Tensor:
    return torch.randn(len(flat.values), generator=GENERATOR.manual_seed(number))


def hosted() -> HostedStore:
    return HostedStore(Ledger(), job="cart", attempt=1, learners=2)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_one_learner_takes_the_path_that_it_would_take_alone(rule: Rule) -> None:
    alone, sharing = network(), network()
    own = ClippedDescent(alone, rule(alone), max_grad_norm=1.0)
    shared = StoredDescent(sharing, rule, hosted(), max_grad_norm=1.0)
    for number in range(20):
        for flat in (alone, sharing):
            flat.gradients.copy_(gradients(flat, number))
        torch.testing.assert_close(own.step(0.01), shared.step(0.01), rtol=0, atol=0)
    torch.testing.assert_close(sharing.values, alone.values, rtol=0, atol=0)


def test_the_parameters_version_rises_when_the_store_has_stepped() -> None:
    flat = network()
    descent = StoredDescent(flat, RULES["Adam"], hosted(), max_grad_norm=1.0)
    before = flat.version
    descent.step(0.01)
    assert flat.version > before


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_what_is_saved_goes_on_in_a_store_and_without_one(rule: Rule) -> None:
    first = network()
    saved = StoredDescent(first, rule, hosted(), max_grad_norm=1.0)
    for number in range(5):
        first.gradients.copy_(gradients(first, number))
        saved.step(0.01)
    state, values = saved.state_dict(), first.values.clone()

    again, alone = network(), network()
    for flat in (again, alone):
        flat.values.copy_(values)
    resumed = StoredDescent(again, rule, hosted(), max_grad_norm=1.0)
    resumed.load_state_dict(state)
    optimiser = rule(alone)
    optimiser.load_state_dict(state)
    descents = (saved, resumed, ClippedDescent(alone, optimiser, max_grad_norm=1.0))
    for flat, descent in zip((first, again, alone), descents, strict=True):
        flat.gradients.copy_(gradients(flat, 9))
        descent.step(0.01)
    torch.testing.assert_close(again.values, first.values, rtol=0, atol=0)
    torch.testing.assert_close(alone.values, first.values, rtol=0, atol=0)


def test_a_gradient_that_is_no_number_never_reaches_what_others_share() -> None:
    flat = network()
    descent = StoredDescent(flat, RULES["Adam"], hosted(), max_grad_norm=1.0)
    before = flat.values.clone()
    flat.gradients[7] = float("nan")
    with pytest.raises(DivergedError, match="training has diverged: the gradient's norm is nan; a smaller spec"):
        descent.step(0.01)
    descent.state_dict()
    assert flat.values.equal(before)


def test_a_push_gives_back_what_others_have_pushed() -> None:
    store = ParameterStore(torch.zeros(PARAMETERS), PlainDescent)
    mine, theirs = torch.zeros(PARAMETERS), torch.zeros(PARAMETERS)
    store.push(torch.full((PARAMETERS,), 1.0), 1.0, theirs)
    store.push(torch.full((PARAMETERS,), 10.0), 1.0, mine)
    assert mine.unique().tolist() == [-11.0]
    assert theirs.unique().tolist() == [-1.0]
    store.pull(theirs)
    assert theirs.equal(mine)


def test_nothing_is_lost_where_many_push_at_once() -> None:
    store = ParameterStore(torch.zeros(PARAMETERS), PlainDescent)
    begin = threading.Barrier(8)

    def push_often(_: int) -> None:
        values, ones = torch.zeros(PARAMETERS), torch.ones(PARAMETERS)
        begin.wait(20)
        for _ in range(100):
            store.push(ones, 1.0, values)

    with ThreadPoolExecutor(8) as learners:
        list(learners.map(push_often, range(8)))
    values = torch.zeros(PARAMETERS)
    store.pull(values)
    assert values.unique().tolist() == [-800.0]


class Blocking(PlainDescent):
    """Stands still in a step by a negative rate, which it says it has begun, until it is let go."""

    begun = threading.Event()
    go_on = threading.Event()

    def step(self, learning_rate: float) -> None:
        if learning_rate < 0:
            self.begun.set()
            assert self.go_on.wait(20)
        super().step(abs(learning_rate))


def test_a_push_takes_the_chunks_that_are_free_while_another_holds_one() -> None:
    store = ParameterStore(torch.zeros(PARAMETERS), Blocking, chunks=2)
    ones, theirs, mine, seen = (torch.ones(PARAMETERS) for _ in range(4))
    with ThreadPoolExecutor(2) as learners:
        blocked = learners.submit(store.push, ones, -1.0, theirs)
        assert Blocking.begun.wait(20)
        pushed = learners.submit(store.push, ones, 1.0, mine)
        while mine[-1] == 1.0:
            assert not pushed.done()
        assert mine[0] == 1.0, "the first chunk is the other's"
        assert mine[-1] == -1.0
        Blocking.go_on.set()
        blocked.result(20)
        pushed.result(20)
    store.pull(seen)
    assert seen.unique().tolist() == [-2.0]


@pytest.mark.parametrize("chunks", [1, 3, 1000])
def test_all_parameters_are_in_a_chunk_however_many_there_are(chunks: int) -> None:
    store = ParameterStore(torch.zeros(PARAMETERS), PlainDescent, chunks=chunks)
    values = torch.ones(PARAMETERS)
    store.push(torch.ones(PARAMETERS), 2.0, values)
    assert values.unique().tolist() == [-2.0]
