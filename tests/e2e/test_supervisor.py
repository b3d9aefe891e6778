"""How `stepstream run` keeps several learners: they start together, end together, and begin anew together."""

from __future__ import annotations

import os
import signal
import textwrap
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stepstream_operator.api import load_job
from stepstream_operator.api.status_types import ConditionType, JobStatus
from stepstream_operator.local.display import RunView
from stepstream_operator.local.plan import Plan
from stepstream_operator.local.processes import ProcessSpec
from stepstream_operator.local.run_directory import RunDirectory
from stepstream_operator.local.supervisor import Supervisor
from stepstream_operator.local.wakeup import Wakeup
from stepstream_trainer.config.contract import EXIT_RESUME
from tests.support.data_plane import wait_until
from tests.support.local_run import write_job

LEARNERS = 2

PRELUDE = """
import os, pathlib, signal, sys, time
attempt, rank = int(os.environ["STEPSTREAM_ATTEMPT"]), int(os.environ["STEPSTREAM_RANK"])
def note(what):
    pathlib.Path(f"{what}-{attempt}-{rank}-{os.getpid()}").touch()
def wait_for(pattern):
    while not list(pathlib.Path(".").glob(pattern)):
        time.sleep(0.02)
note("started")
"""


@dataclass(slots=True)
class Shown:
    """A display that keeps what it is given."""

    notes: list[str] = field(default_factory=list)
    views: list[RunView] = field(default_factory=list)

    def show(self, view: RunView) -> None:
        self.views.append(view)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def close(self) -> None:
        pass


class Run:
    """A run whose learners do what a script says, in a directory that they leave traces in."""

    def __init__(self, directory: Path, script: str, *, retries: int = 0) -> None:
        self.directory = directory
        self.shown = Shown()
        self._script = f"import os; os.chdir({str(directory)!r})\n" + PRELUDE + textwrap.dedent(script)
        self._run = RunDirectory(directory / "run", "run")
        self._retries = retries

    def supervise(self) -> JobStatus:
        job = load_job(write_job(self.directory / "cart.yaml"), ["spec.learners.replicas=2"])
        with self._run.lock(), Wakeup() as wakeup:
            self._run.save_job(job)
            supervisor = Supervisor(self._plan, job=job, directory=self._run, display=self.shown, wakeup=wakeup)
            return supervisor.run()

    def traces(self, what: str) -> list[str]:
        """`<attempt>-<rank>` of those who left that trace, as often as they did."""
        return sorted("-".join(path.name.split("-")[1:3]) for path in self.directory.glob(f"{what}-*"))

    def _plan(self, attempt: int) -> Plan:
        learners = tuple(
            ProcessSpec(
                name=f"cart-learner-{rank}",
                command=("python", "-c", self._script),
                environment={"STEPSTREAM_ATTEMPT": str(attempt), "STEPSTREAM_RANK": str(rank)},
                log=self._run.log(f"cart-learner-{rank}"),
            )
            for rank in range(LEARNERS)
        )
        return Plan(
            learners=learners,
            simulators=(),
            files={},
            status_address=f"unix:{self.directory}/nobody",
            learner_retries=self._retries,
        )


def test_when_one_learner_fails_all_are_ended_and_the_next_attempt_begins(tmp_path: Path) -> None:
    run = Run(
        tmp_path,
        """
        wait_for(f"started-{attempt}-{1 - rank}-*")
        if attempt == 1:
            sys.exit(3) if rank == 1 else time.sleep(1000)
        """,
    )
    status = run.supervise()
    assert status.holds(ConditionType.Complete)
    assert (status.attempt, status.restarts) == (2, 1)
    assert run.traces("started") == ["1-0", "1-1", "2-0", "2-1"]
    assert run.shown.notes == ["learner failed with exit code 3; attempt 2 follows"]


def test_a_learner_that_lost_another_does_not_count_beside_the_one_that_failed(tmp_path: Path) -> None:
    run = Run(
        tmp_path,
        f"""
        if attempt == 1 and rank == 0:
            wait_for("started-1-1-*")
            note("left")
            sys.exit({EXIT_RESUME})
        if attempt == 1:
            wait_for("left-1-0-*")
            time.sleep(0.3)
            sys.exit(3)
        """,
    )
    status = run.supervise()
    assert status.holds(ConditionType.Complete)
    assert (status.attempt, status.restarts) == (2, 1)
    assert status.failure is not None
    assert (status.failure.pod, status.failure.exit_code) == ("cart-learner-1", 3)


def test_learners_that_were_asked_to_go_are_started_again_within_the_attempt(tmp_path: Path) -> None:
    run = Run(
        tmp_path,
        f"""
        if len(list(pathlib.Path(".").glob(f"started-*-{{rank}}-*"))) == 1:
            wait_for(f"started-{{attempt}}-{{1 - rank}}-*")
            sys.exit({EXIT_RESUME})
        """,
    )
    status = run.supervise()
    assert status.holds(ConditionType.Complete)
    assert (status.attempt, status.restarts) == (1, 0)
    assert set(run.traces("started")) == {"1-0", "1-1"}
    assert sorted(set(run.shown.notes)) == [
        f"cart-learner-{rank} asked to be started again, and is" for rank in range(LEARNERS)
    ]


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]], ids=["Ctrl-C", "make's group"])
def test_a_request_to_stop_reaches_all_learners_and_waits_for_all_of_them(
    signals: list[signal.Signals], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepstream_operator.local.wakeup.SAME_REQUEST_SECONDS", 600.0)
    run = Run(
        tmp_path,
        f"""
        def leave(*_):
            wait_for("sent")
            time.sleep(0.5 * rank)
            note("left")
            os._exit({EXIT_RESUME})
        signal.signal(signal.SIGTERM, leave)
        note("ready")
        time.sleep(1000)
        """,
    )

    def interrupt() -> None:
        wait_until(lambda: run.traces("ready") == ["1-0", "1-1"], "both are at work")
        for number in signals:
            os.kill(os.getpid(), number)
            wait_until(lambda: bool(run.shown.notes), "the first is heard")
        (tmp_path / "sent").touch()

    threading.Thread(target=interrupt, daemon=True).start()
    status = run.supervise()
    assert run.traces("left") == ["1-0", "1-1"]
    assert not status.finished
    assert run.shown.notes == ["stopping: the learners write a checkpoint (Ctrl-C again: stop without one)"]


def test_while_it_waits_for_learners_to_leave_it_does_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(
        tmp_path,
        f"""
        def leave(*_):
            time.sleep(3)
            os._exit({EXIT_RESUME})
        signal.signal(signal.SIGTERM, leave)
        note("ready")
        if rank == 1:
            wait_for("ready-1-0-*")
            sys.exit(3)
        time.sleep(1000)
        """,
        retries=1,
    )
    waits, wait = list[float](), Wakeup.wait

    def counted(wakeup: Wakeup, seconds: float) -> None:
        waits.append(seconds)
        wait(wakeup, seconds)

    def interrupt() -> None:
        wait_until(lambda: any("starts again in" in note for note in run.shown.notes), "one waits for its next life")
        waits.clear()
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Wakeup, "wait", counted)
    threading.Thread(target=interrupt, daemon=True).start()
    assert not run.supervise().finished
    assert len(waits) < 50


def test_a_log_that_somebody_removed_costs_nothing_else(tmp_path: Path) -> None:
    run = Run(tmp_path, 'os.unlink(f"run/logs/cart-learner-{rank}.log")')
    assert run.supervise().holds(ConditionType.Complete)


def test_the_display_counts_the_learners(tmp_path: Path) -> None:
    run = Run(
        tmp_path,
        """
        if rank == 0:
            wait_for("seen")
        else:
            note("left")
        """,
    )

    def seen() -> None:
        wait_until(lambda: any(view.learners_up == 1 for view in run.shown.views), "one learner is shown as up")
        (tmp_path / "seen").touch()

    threading.Thread(target=seen, daemon=True).start()
    assert run.supervise().holds(ConditionType.Complete)
    assert {view.learners_wanted for view in run.shown.views} == {LEARNERS}
