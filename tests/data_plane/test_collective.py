"""Averages over learners in processes of their own: the same bits for all, and no waiting for one that is gone."""

from __future__ import annotations

import signal
import time

import pytest

from tests.support.collective_process import WAITING, collective_processes
from tests.support.daemons import free_ports
from tests.support.subprocesses import next_line


def address() -> str:
    return f"127.0.0.1:{free_ports(1)[0]}"


def test_every_learner_gets_the_same_mean() -> None:
    with collective_processes(3, address(), timeout_seconds=60, count=20) as processes:
        said = [next_line(process) for process in processes]
    assert said[0] == said[1] == said[2]
    assert [float(value) for value in said[0].split()] == pytest.approx([1.0, 19.0, (1 + 1 / 2 + 1 / 3) / 3])


def test_a_learner_that_dies_is_noticed_by_who_waits_for_it() -> None:
    with collective_processes(2, address(), timeout_seconds=60, count=1) as processes:
        for process in processes:
            next_line(process)
            assert next_line(process) == WAITING
        processes[1].send_signal(signal.SIGKILL)
        started = time.monotonic()
        assert next_line(processes[0]).startswith("lost: a collective operation among the learners failed")
        assert time.monotonic() - started < 50, "before the time is over"


def test_a_learner_that_hangs_is_waited_for_no_longer_than_the_time_allows() -> None:
    with collective_processes(2, address(), timeout_seconds=15, count=1) as processes:
        for process in processes:
            next_line(process)
            assert next_line(process) == WAITING
        assert next_line(processes[0]).startswith("lost: a collective operation among the learners failed")
