"""What a simulator does while its learner is slow, silent, or not there: it waits, in vain or not, and does no harm."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stepstream_protos.v1 import stream_pb2 as pb
from stepstream_trainer.metrics import new_registry
from stepstream_trainer.simulator import serving, standing
from stepstream_trainer.simulator.backoff import FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS
from stepstream_trainer.simulator.metrics import SimulatorMetrics
from stepstream_trainer.simulator.serving import Simulator
from stepstream_trainer.simulator.streams import Endpoint
from tests.support.data_plane import CARTPOLE, PATIENCE_SECONDS, LearnerEnd, config_of, data_plane, wait_until
from tests.support.raw_streams import CONFIG, SPACES
from tests.support.scripted_learner import HEARTBEAT, JOB_OVER, Inbox, actions, lease, scripted_learner

SLOTS = 4
SHORT_SECONDS = 0.3


@pytest.fixture
def address(tmp_path: Path) -> str:
    return f"unix:{tmp_path}/s"


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """With learners that say nothing."""
    monkeypatch.setattr(standing, "SILENCE_SECONDS", SHORT_SECONDS)
    monkeypatch.setattr(serving, "WATCH_SECONDS", 0.02)


class Running:
    """A simulator in a thread of this process."""

    def __init__(self, address: str, **injected: Any) -> None:
        endpoint = Endpoint(target=address, tls_directory=None)
        self._registry = new_registry()
        self._simulator = Simulator(CONFIG, "s", endpoint, SPACES, SimulatorMetrics(self._registry), **injected)
        self._thread = threading.Thread(target=self._simulator.run, daemon=True)
        self._thread.start()

    def status(self) -> dict[str, Any]:
        return self._simulator.standing.status()

    def steps(self) -> float | None:
        return self._registry.get_sample_value("stepstream_simulator_steps_total")

    def wait(self) -> None:
        """Until it has been told that the job is over."""
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "the simulator waits on"


def accepts_and_says_no_more(inbox: Inbox) -> Iterator[pb.LearnerMessage]:
    yield HEARTBEAT
    inbox.over.wait(PATIENCE_SECONDS)


def says_that_the_job_is_over(inbox: Inbox) -> Iterator[pb.LearnerMessage]:
    yield JOB_OVER


@pytest.mark.usefixtures("short_patience")
def test_a_learner_that_accepts_a_stream_and_falls_silent_is_dialled_anew(address: str) -> None:
    with scripted_learner(address, accepts_and_says_no_more, says_that_the_job_is_over) as inboxes:
        Running(address).wait()
        assert len(inboxes) > 1


def test_a_lease_whose_learner_falls_silent_is_given_up(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "WATCH_SECONDS", 0.02)
    given_up = threading.Event()

    def leases_and_falls_silent(inbox: Inbox) -> Iterator[pb.LearnerMessage]:
        yield lease(SLOTS)
        inbox.wait_for(2)
        yield actions(SLOTS, sequence=1)
        inbox.wait_for(3)
        monkeypatch.setattr(standing, "SILENCE_SECONDS", SHORT_SECONDS)
        inbox.over.wait(PATIENCE_SECONDS)
        given_up.set()

    def says_that_the_job_is_over_then(inbox: Inbox) -> Iterator[pb.LearnerMessage]:
        while not given_up.wait(0.05):
            yield HEARTBEAT
        yield JOB_OVER

    with scripted_learner(address, leases_and_falls_silent, says_that_the_job_is_over_then):
        simulator = Running(address)
        simulator.wait()
        assert simulator.steps() == SLOTS
        wait_until(lambda: simulator.status()["leases"] == [], "the lease is over")


class EnoughError(Exception):
    """The test has seen what it wanted to see."""


def test_attempts_to_reach_a_learner_become_rare_and_are_never_given_up(address: str) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 12:
            raise EnoughError

    endpoint = Endpoint(target=address, tls_directory=None)
    simulator = Simulator(CONFIG, "s", endpoint, SPACES, SimulatorMetrics(new_registry()), sleep=sleep)
    with pytest.raises(EnoughError):
        simulator.run()
    longest = [min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2**attempt) for attempt in range(12)]
    assert all(most / 2 <= seconds <= most for seconds, most in zip(slept, longest, strict=True))


def test_a_learner_that_was_there_is_looked_for_at_once_when_it_goes(address: str) -> None:
    slept: list[float] = []

    def accepts_and_goes(inbox: Inbox) -> Iterator[pb.LearnerMessage]:
        yield HEARTBEAT

    with scripted_learner(address, *[accepts_and_goes] * 6, says_that_the_job_is_over):
        Running(address, sleep=slept.append).wait()
    assert len(slept) == 6
    assert max(slept) <= FIRST_RETRY_SECONDS


def test_a_simulator_neither_steps_nor_sends_while_its_learner_withholds_the_actions(address: str) -> None:
    go_on = threading.Event()

    def thinks_for_long(inbox: Inbox) -> Iterator[pb.LearnerMessage]:
        yield lease(SLOTS)
        inbox.wait_for(2)
        yield actions(SLOTS, sequence=1)
        while not go_on.wait(0.1):
            yield HEARTBEAT
        yield actions(SLOTS, sequence=2)
        inbox.wait_for(4)
        yield JOB_OVER

    with scripted_learner(address, thinks_for_long, accepts_and_says_no_more) as inboxes:
        simulator = Running(address)
        wait_until(lambda: len(inboxes) > 1, "a lease began, and a spare stream is on offer")
        inboxes[0].wait_for(3)
        time.sleep(1.5)  # in which a simulator that does not wait would play thousands of steps
        assert len(inboxes[0]) == 3, "a greeting, the first rows, and what the first actions led to"
        assert simulator.steps() == SLOTS
        go_on.set()
        simulator.wait()
        assert len(inboxes[0]) == 4
        assert simulator.steps() == 2 * SLOTS


def test_probes_find_a_simulator_healthy_without_a_learner_and_ready_with_one() -> None:
    with data_plane(config_of(CARTPOLE)) as plane:
        plane.learner.stop(job_over=False)
        simulators = plane.simulators
        simulators.start("a")
        wait_until(lambda: simulators.answer("a", "/healthz") == (200, "ok\n"), "it answers")
        assert simulators.answer("a", "/readyz") == (503, "no learner accepts this simulator's streams\n")
        learner = LearnerEnd(plane.learner.config, plane.directory)
        learner.play(2)
        assert simulators.answer("a", "/readyz") == (200, "ok\n")
        status = json.loads(simulators.answer("a", "/status")[1])
        assert (status["simulator"], status["accepted"], sorted(status["leases"])) == ("a", True, [4, 4])
        assert 0.0 <= status["secondsSinceExchange"] < PATIENCE_SECONDS
        learner.stop(job_over=False)
        wait_until(lambda: simulators.answer("a", "/readyz")[0] == 503, "it has lost its learner")
        assert simulators.answer("a", "/healthz") == (200, "ok\n")
        wait_until(lambda: json.loads(simulators.answer("a", "/status")[1])["leases"] == [], "it serves nothing")
