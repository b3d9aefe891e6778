"""Learners in mode Async: what they count together, how far one may be behind, and how the job's end is told."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch

from stepstream_trainer.config import Mode
from stepstream_trainer.learner import mailbox
from stepstream_trainer.learner.apart import Host, Visitor
from stepstream_trainer.learner.experience import Position
from stepstream_trainer.learner.gathering import Interrupted
from stepstream_trainer.learner.homes import Need
from stepstream_trainer.learner.ledger import Ledger, Totals
from stepstream_trainer.learner.ranks import News, Order

GO_ON = Order(done=False, save=True, mode=Mode.Async, calibrating=False, total_steps=1000)


def no_wait(_: Callable[[], bool]) -> None:
    pytest.fail("rank 0 waits for nobody")


@dataclass(slots=True)
class Reached:
    """The ledger, reached as by another rank; notes pulls."""

    ledger: Ledger
    pulls: list[int] = field(default_factory=list)

    def pull(self) -> None:
        self.pulls.append(1)

    def account(self, *, steps: int, updates: int, news: News | None = None) -> Totals:
        return self.ledger.account(steps=steps, updates=updates, news=news)

    def done(self) -> bool:
        return self.ledger.done()


def test_all_learners_count_together() -> None:
    ledger = Ledger()
    ledger.go_on_from(steps=1000, updates=10)
    host, visitor = Host(ledger, lambda: None, max_policy_lag=9), Visitor(Reached(ledger), rank=1, max_policy_lag=9)
    mine, theirs = Position(), Position()
    host.begin_alike(mine, str)
    visitor.begin_alike(theirs, str)
    host.made(mine, steps=80)
    host.updated(mine, updates=1)
    visitor.made(theirs, steps=40)
    visitor.updated(theirs, updates=2)
    assert (mine.steps, mine.updates) == (1080, 11)
    assert (theirs.steps, theirs.updates) == (1120, 13)


@pytest.mark.parametrize(("behind", "pulls"), [(4, 0), (5, 1)])
def test_a_learner_that_is_too_far_behind_pulls_before_it_learns(behind: int, pulls: int) -> None:
    ledger = Ledger()
    shared = Reached(ledger)
    visitor, position = Visitor(shared, rank=1, max_policy_lag=4), Position()
    visitor.begin_alike(position, str)
    assert shared.pulls == [1], "it begins with the store's parameters"
    ledger.account(steps=0, updates=behind)
    visitor.made(position, steps=80)
    assert len(shared.pulls) == 1 + pulls
    assert position.updates == behind


def test_episodes_of_others_reach_rank_0_once() -> None:
    ledger = Ledger()
    host, visitor = Host(ledger, lambda: None, max_policy_lag=9), Visitor(Reached(ledger), rank=1, max_policy_lag=9)
    visitor.agree(lambda _: pytest.fail("rank 0 decides"), News(returns=[3.0, 4.0], lengths=[5, 6]))
    heard: list[News] = []

    def decide(news: object) -> Order:
        heard.extend(news)  # type: ignore[arg-type]
        return GO_ON

    assert host.agree(decide, News()) is GO_ON
    host.agree(decide, News())
    assert heard == [News(returns=[3.0, 4.0], lengths=[5, 6])]


def test_what_rank_0_has_kept_ends_the_job_for_all() -> None:
    ledger = Ledger()
    host, visitor = Host(ledger, lambda: None, max_policy_lag=9), Visitor(Reached(ledger), rank=1, max_policy_lag=9)
    assert not visitor.agree(lambda _: GO_ON, News()).done
    assert not visitor.over
    host.end(no_wait)
    assert visitor.agree(lambda _: GO_ON, News()).done
    assert visitor.over


def test_while_rank_0_keeps_what_the_job_was_for_the_others_rest() -> None:
    ledger = Ledger()
    host, visitor = Host(ledger, lambda: None, max_policy_lag=9), Visitor(Reached(ledger), rank=1, max_policy_lag=9)
    host.agree(lambda _: GO_ON, News())
    assert not visitor.agree(lambda _: GO_ON, News()).done
    host.agree(lambda _: replace(GO_ON, done=True), News())
    assert visitor.agree(lambda _: GO_ON, News()).done
    waited_for: list[Callable[[], bool]] = []
    visitor.end(waited_for.append)
    assert [done() for done in waited_for] == [False]
    host.end(no_wait)
    assert [done() for done in waited_for] == [True]


def test_who_is_to_stop_stops_alone() -> None:
    visitor = Visitor(Reached(Ledger()), rank=1, max_policy_lag=9)
    visitor.collected(stop=False)
    with pytest.raises(Interrupted):
        visitor.collected(stop=True)


def test_rank_0_waits_until_all_have_heard_that_the_job_is_done_and_left() -> None:
    ledger, life = Ledger(), object()
    ledger.finish()
    assert not ledger.wait_alone([1], 0.0), "it has not come yet"
    ledger.arrived(1, life)
    ledger.knows(1)
    assert not ledger.wait_alone([1], 0.0), "it is still here"
    ledger.left(1, life)
    assert ledger.wait_alone([1], 0.0)


def test_a_learner_that_has_left_needs_nobody_but_its_successor_does() -> None:
    ledger, earlier, later = Ledger(), object(), object()
    ledger.arrived(1, earlier)
    ledger.others_need(1, Need(free_slots=4))
    ledger.arrived(1, later)
    ledger.left(1, earlier)
    assert ledger.needs()[1].free_slots == 4
    ledger.left(1, later)
    assert ledger.needs()[1].free_slots == 0
    ledger.others_need(1, Need(free_slots=4))  # on its way when the stream broke
    assert ledger.needs()[1].free_slots == 0


def test_how_many_share_the_store_is_told_whenever_one_comes_or_goes() -> None:
    told: list[int] = []
    ledger, lives = Ledger(told.append), [object(), object()]
    ledger.arrived(1, lives[0])
    ledger.arrived(2, lives[1])
    ledger.left(1, lives[0])
    assert told == [1, 2, 3, 2]


def test_both_ends_of_a_mailbox_see_the_same_and_nothing_is_left_of_it() -> None:
    made = mailbox.make(100)
    assert made is not None
    box, name = made
    found = mailbox.find(name, 100)
    assert found is not None
    mailbox.forget(name)
    assert mailbox.find(name, 100) is None
    box.values.fill_(3.0)
    assert found.values.equal(torch.full((100,), 3.0))


def test_a_mailbox_is_found_by_its_own_name_and_size_alone(tmp_path: Path) -> None:
    made = mailbox.make(100)
    assert made is not None
    name = made[1]
    alias = mailbox.DIRECTORY / f"stepstream-{'0' * 31}{os.getpid() % 10}"
    alias.symlink_to(mailbox.DIRECTORY / name)
    try:
        assert mailbox.find(name, 99) is None
        assert mailbox.find(f"../shm/{name}", 100) is None
        assert mailbox.find(alias.name, 100) is None
        assert mailbox.find(name, 100) is not None
    finally:
        alias.unlink()
        mailbox.forget(name)


def test_a_machine_without_room_for_a_mailbox_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    token = secrets.token_hex(16)
    monkeypatch.setattr(mailbox.secrets, "token_hex", lambda nbytes: token)
    assert mailbox.make(1 << 50) is None
    assert not (mailbox.DIRECTORY / f"stepstream-{token}").exists()
