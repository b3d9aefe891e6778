"""The parameter store over its wire: pushes that pull, by messages or shared memory; learners that come and go."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from stepstream_trainer.algorithms.adam import Adam
from stepstream_trainer.algorithms.descent import StoredDescent
from stepstream_trainer.algorithms.flat import Flat, FlatParameters
from stepstream_trainer.learner import mailbox
from stepstream_trainer.learner.homes import Need
from stepstream_trainer.learner.ledger import Ledger, Totals
from stepstream_trainer.learner.meeting import RankLostError, RanksMissingError
from stepstream_trainer.learner.ranks import News
from stepstream_trainer.learner.store_link import StoreLink, StoreRefusedError
from stepstream_trainer.learner.store_service import HostedStore
from tests.support.certificates import mount, new_certificates
from tests.support.daemons import free_ports

SECONDS = 20.0


def adam(flat: Flat) -> Adam:
    return Adam(flat, epsilon=1e-5)


def network(width: int = 30) -> FlatParameters:
    torch.manual_seed(3)
    return FlatParameters(nn.Sequential(nn.Linear(20, width), nn.Linear(width, 10)), torch.device("cpu"))


class Set:
    """Rank 0 with its store, and the others, in this process."""

    def __init__(self, closing: ExitStack, *, certificates: dict[str, Path] | None = None, learners: int = 3) -> None:
        self._closing = closing
        self._certificates = certificates or {}
        self.address = f"127.0.0.1:{free_ports(1)[0]}"
        self.ledger = Ledger()
        self.pushes: list[float] = []
        """Seconds of those from afar."""
        self.hosted = HostedStore(self.ledger, job="cart", attempt=2, learners=learners)
        self.hosted.listen(self.address, self._certificates.get("learner"))
        closing.callback(self.hosted.close)

    def open(self) -> FlatParameters:
        flat = network()
        StoredDescent(flat, adam, self.hosted, max_grad_norm=1.0)
        self.hosted.open()
        return flat

    def link(self, rank: int, *, attempt: int = 2, role: str = "learner", seconds: float = SECONDS) -> StoreLink:
        link = StoreLink(job="cart", attempt=attempt, rank=rank, pushed=self.pushes.append)
        self._closing.callback(link.close)
        link.dial(self.address, self._certificates.get(role), lambda: None, arrival_seconds=seconds)
        return link


@contextmanager
def learners(**settings: object) -> Iterator[Set]:
    with ExitStack() as closing:
        yield Set(closing, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("shared", [True, False], ids=["shared memory", "wire"])
def test_a_push_from_afar_steps_the_store_and_brings_its_parameters(
    shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox, "DIRECTORY", tmp_path)  # the machine's has those of other tests, too
    if not shared:
        monkeypatch.setattr(mailbox, "make", lambda _: None)
    alone = network()
    own = StoredDescent(alone, adam, HostedStore(Ledger(), job="", attempt=1, learners=2), max_grad_norm=1.0)
    with learners() as group:
        first = group.open()
        link, flat = group.link(1), network()
        flat.values.zero_()
        descent = StoredDescent(flat, adam, link, max_grad_norm=1.0)
        link.pull()
        assert flat.values.equal(first.values)
        for _ in range(5):
            for one in (alone, flat):
                one.gradients.copy_(torch.arange(len(one.values)) / 100)
            version = flat.version
            own.step(0.01)
            descent.step(0.01)
            assert flat.version > version
        assert flat.values.equal(alone.values)
        assert len(group.pushes) == 5
        assert 0 < sum(group.pushes) < SECONDS
        group.hosted.pull()
        assert first.values.equal(alone.values)
    assert not [*tmp_path.iterdir()]


def test_counts_episodes_and_needs_go_to_rank_0_and_come_back() -> None:
    with learners() as group:
        link = group.link(1)
        group.ledger.account(steps=100, updates=5)
        totals = link.account(steps=20, updates=1, news=News(returns=[1.5], lengths=[7]))
        assert totals == Totals(steps=120, updates=6, enough=False, done=False)
        group.ledger.enough()
        assert link.account(steps=0, updates=0) == Totals(steps=120, updates=6, enough=True, done=False)
        assert group.ledger.take_news() == [News(returns=[1.5], lengths=[7])]
        group.ledger.tell_need(Need(free_slots=3, simulators=frozenset({"a"})))
        link.tell_need(Need(free_slots=2, simulators=frozenset({"b"})))
        wait_until(lambda: link.needs().get(0) == Need(free_slots=3, simulators=frozenset({"a"})))
        wait_until(lambda: group.ledger.needs()[1] == Need(free_slots=2, simulators=frozenset({"b"})))


def test_a_learner_hears_that_the_job_is_done_though_it_asks_for_nothing() -> None:
    with learners(learners=2) as group:
        link = group.link(1)
        assert not link.done()
        group.ledger.finish()
        wait_until(link.done)
        assert not group.ledger.wait_alone([1], 0.0)
        link.close()
        assert group.ledger.wait_alone([1], SECONDS)


def test_learners_come_and_go_without_the_others_noticing() -> None:
    with learners() as group:
        group.open()
        staying, leaving = group.link(1), group.link(2)
        flat = network()
        StoredDescent(flat, adam, staying, max_grad_norm=1.0)
        leaving.close()
        staying.push(0.01)
        again, flat_again = group.link(2), network()
        StoredDescent(flat_again, adam, again, max_grad_norm=1.0)
        again.push(0.01)
        staying.pull()
        assert flat.values.equal(flat_again.values)


def test_a_later_life_of_a_rank_ends_the_stream_of_the_earlier_one() -> None:
    with learners() as group:
        earlier, later = group.link(1), group.link(1)
        wait_until(lambda: lost(earlier))
        assert later.account(steps=1, updates=0).steps == 1


def test_who_attaches_before_the_store_stands_waits_for_it() -> None:
    with learners() as group:
        flat, link = network(), group.link(1)
        flat.values.zero_()
        threading.Timer(0.5, group.open).start()
        StoredDescent(flat, adam, link, max_grad_norm=1.0)
        link.pull()
        assert flat.values.equal(network().values)


def test_when_rank_0_is_gone_so_are_the_others() -> None:
    with learners() as group:
        link = group.link(1)
        group.hosted.close()
        with pytest.raises(RankLostError, match="the learner of rank 0 is gone"):
            link.account(steps=1, updates=0)
        with pytest.raises(RankLostError):
            link.check()


def test_a_rank_0_that_never_comes_is_not_waited_for_for_ever() -> None:
    link = StoreLink(job="cart", attempt=1, rank=1)
    started = time.monotonic()
    with pytest.raises(RanksMissingError, match="the learner of rank 0 did not come within 1 s"):
        link.dial(f"127.0.0.1:{free_ports(1)[0]}", None, lambda: None, arrival_seconds=1.0)
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("rank", [0, 3])
def test_who_does_not_belong_here_is_refused_by_a_sentence(rank: int) -> None:
    sentence = f"learners of ranks 1 to 2 share the store, not one of {rank}"
    with learners() as group, pytest.raises(StoreRefusedError, match=sentence):
        group.link(rank)


def test_the_store_of_another_attempt_is_not_the_one_that_a_learner_waits_for() -> None:
    with learners() as group:
        with pytest.raises(RanksMissingError):
            group.link(1, attempt=1, seconds=1.0)
        assert group.ledger.needs() == {}


def test_another_network_is_refused_by_its_number_of_parameters() -> None:
    with learners() as group:
        group.open()
        link = group.link(1)
        with pytest.raises(StoreRefusedError, match=r"the store has \d+ parameters, the learner \d+"):
            StoredDescent(network(width=40), adam, link, max_grad_norm=1.0)


def test_learners_of_the_job_are_let_in_by_their_certificates_and_nobody_else(tmp_path: Path) -> None:
    ours, theirs = mount(new_certificates("ours"), tmp_path / "ours"), mount(new_certificates("theirs"), tmp_path / "x")
    with learners(certificates={**ours, "stranger": theirs["learner"]}) as group:
        assert group.link(1).account(steps=1, updates=0).steps == 1
        with pytest.raises(StoreRefusedError, match="the store is for the learners of this job"):
            group.link(2, role="simulator")
        for role in ("stranger", "nobody"):
            with pytest.raises(RanksMissingError):
                group.link(2, role=role, seconds=1.0)


def lost(link: StoreLink) -> bool:
    try:
        link.account(steps=0, updates=0)
    except RankLostError:
        return True
    return False


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
