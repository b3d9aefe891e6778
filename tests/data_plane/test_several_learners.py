"""Simulators find the learner that needs them: two learners' ends in this process, and real simulators."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stepstream_protos.v1 import stream_pb2 as pb
from stepstream_trainer.learner.homes import PATIENCE_SECONDS as HELP_AFTER_SECONDS
from stepstream_trainer.learner.homes import Need
from stepstream_trainer.learner.homing import Hub, homing
from stepstream_trainer.learner.leasing import Service
from stepstream_trainer.metrics import new_registry
from stepstream_trainer.rows import ENDED
from stepstream_trainer.simulator.metrics import SimulatorMetrics
from stepstream_trainer.simulator.serving import Simulator
from stepstream_trainer.simulator.streams import Endpoint
from tests.support.data_plane import (
    CARTPOLE,
    PATIENCE_SECONDS,
    LearnerEnd,
    SeenRow,
    Simulators,
    config_of,
    wait_until,
)
from tests.support.learners import NeedsInMemory
from tests.support.raw_streams import CONFIG, SPACES
from tests.support.scripted_learner import HEARTBEAT, JOB_OVER, Inbox, Script, lease, redirect, scripted_learner

LEARNERS = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Learners:
    """Both ends of a job with several learners."""

    ends: list[LearnerEnd]
    simulators: Simulators

    def play(self, steps: int) -> list[list[list[SeenRow]]]:
        """At all learners at once: [rank][slot][step]."""
        with ThreadPoolExecutor(LEARNERS) as threads:
            return list(threads.map(lambda end: end.play(steps), self.ends))

    def served_by(self) -> list[int]:
        """How many simulators each has."""
        return [end.server.service().simulators for end in self.ends]


@contextmanager
def learners(*names: str, simulators: int, guests_after_seconds: float = HELP_AFTER_SECONDS) -> Iterator[Learners]:
    """With simulators of these names, which is as many as have come yet of `simulators`."""
    config = config_of(CARTPOLE, environments=4, simulators=simulators, learners=LEARNERS)
    with tempfile.TemporaryDirectory(prefix="st-") as path:
        directory, shared = Path(path), dict[int, Need]()
        homings = [
            homing(NeedsInMemory(rank=rank, shared=shared), rank=rank, learners=LEARNERS) for rank in range(LEARNERS)
        ]
        assert isinstance(homings[0], Hub)
        homings[0]._homes.patience_seconds = guests_after_seconds
        ends = [LearnerEnd(config, directory, rank=rank, homing=each) for rank, each in enumerate(homings)]
        processes = Simulators(config, f"unix:{directory}/learner-{{rank}}", directory)
        try:
            processes.start(*names)
            yield Learners(ends=ends, simulators=processes)
        finally:
            processes.stop()
            for end in ends:
                end.stop()


def test_each_simulator_serves_the_learner_where_it_is_at_home() -> None:
    with learners("a", "b", simulators=2, guests_after_seconds=PATIENCE_SECONDS) as job:
        rows = job.play(60)
        assert [end.server.service() for end in job.ends] == [Service(leased=4, simulators=1)] * LEARNERS
    starts = [row.observation for rank in rows for slot in rank for row in slot if row.flags & ENDED]
    assert len(starts) >= 8
    assert len(set(starts)) == len(starts), "each slot of each learner plays episodes of its own"


def test_one_simulator_serves_both_learners() -> None:
    with learners("a", simulators=1) as job:
        assert [len(slots) for slots in job.play(20)] == [4, 4]
        assert job.served_by() == [1, 1]


def test_what_a_learner_sees_does_not_depend_on_who_serves_it() -> None:
    with learners("a", "b", simulators=2) as job:
        undisturbed = job.play(40)
    with learners("a", "b", simulators=2) as job:
        before = job.play(10)
        job.simulators.kill("a")
        middle = job.play(10)
        job.simulators.start("c")
        after = job.play(20)
    for rank in range(LEARNERS):
        for slot, rows in enumerate(undisturbed[rank]):
            assert before[rank][slot] + middle[rank][slot] + after[rank][slot] == rows


def test_a_simulator_that_joins_takes_over_from_the_guest_at_its_learner() -> None:
    with learners("a", simulators=2) as job:
        job.play(5)
        job.simulators.start("b")
        wait_until(lambda: job.served_by()[1] == 2, "the other has come to rank 1")
        wait_until(lambda: bool(job.play(100)) and job.served_by() == [1, 1], "the guest has left")
        wait_until(lambda: [job.simulators.metric(name, "slots") for name in "ab"] == [4.0, 4.0], "each has its slots")


class Running:
    """A simulator in a thread of this process, of learners in `directory`."""

    def __init__(self, directory: Path) -> None:
        endpoint = Endpoint(target=f"unix:{directory}/{{rank}}", tls_directory=None)
        self.slept: list[float] = []
        simulator = Simulator(CONFIG, "s", endpoint, SPACES, SimulatorMetrics(new_registry()), sleep=self.slept.append)
        self._thread = threading.Thread(target=simulator.run, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "the simulator waits on"


def redirects(rank: int, *, guest: bool = False) -> Script:
    def script(inbox: Inbox) -> Iterator[pb.LearnerMessage]:
        inbox.wait_for(1)
        yield redirect(rank, guest=guest)

    return script


def accepts_and_goes(inbox: Inbox) -> Iterator[pb.LearnerMessage]:
    inbox.wait_for(1)
    yield HEARTBEAT


def says_that_the_job_is_over(inbox: Inbox) -> Iterator[pb.LearnerMessage]:
    yield JOB_OVER


def test_a_redirected_offer_is_made_to_that_rank_and_the_next_to_rank_0_again(tmp_path: Path) -> None:
    with (
        scripted_learner(
            f"unix:{tmp_path}/0", redirects(1, guest=True), redirects(1), says_that_the_job_is_over
        ) as at_0,
        scripted_learner(f"unix:{tmp_path}/1", accepts_and_goes, redirects(0)) as at_1,
    ):
        simulator = Running(tmp_path)
        simulator.wait()
        assert [inbox.messages[0].hello.guest for inbox in at_0[:2]] == [False, False]
        assert [inbox.messages[0].hello.guest for inbox in at_1] == [True, False]
        assert len(at_0) == 3
        assert len(simulator.slept) == 1, "only the learner that went was waited for"


def test_a_learner_that_is_not_there_sends_the_offer_back_to_rank_0_ever_less_often(tmp_path: Path) -> None:
    scripts = [redirects(1)] * 5
    with scripted_learner(f"unix:{tmp_path}/0", *scripts, says_that_the_job_is_over):
        simulator = Running(tmp_path)
        simulator.wait()
    assert len(simulator.slept) == 5
    assert simulator.slept[-1] > 2 * simulator.slept[0]


def test_a_simulator_keeps_its_lease_while_its_next_offer_is_redirected(tmp_path: Path) -> None:
    leased, redirected = threading.Event(), threading.Event()

    def leases(inbox: Inbox) -> Iterator[pb.LearnerMessage]:
        yield lease(4)
        inbox.wait_for(2)
        leased.set()
        assert redirected.wait(PATIENCE_SECONDS)
        assert not inbox.over.is_set()
        yield JOB_OVER

    def is_redirected_to(inbox: Inbox) -> Iterator[pb.LearnerMessage]:
        inbox.wait_for(1)
        assert leased.wait(PATIENCE_SECONDS)
        redirected.set()
        yield HEARTBEAT
        inbox.over.wait(PATIENCE_SECONDS)

    with (
        scripted_learner(f"unix:{tmp_path}/0", leases, redirects(1)) as at_0,
        scripted_learner(f"unix:{tmp_path}/1", is_redirected_to),
    ):
        Running(tmp_path).wait()
        assert len(at_0) == 2
