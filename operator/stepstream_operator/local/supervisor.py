"""Keeps a run's processes alive until it is over. One thread, one loop, level-triggered like the operator:

    signals (Ctrl-C, a child's death) --> wake up --> ask /status --> derive the job's status --> write it --> act on it
                                             ^                                                                    |
                                             +------------------- sleep until the next due time ------------------+

What to do is decided by the operator's `derive_job_status`; processes are its pods, and Ctrl-C suspends the job. This
file only does what a kubelet and the Job's controller do: start, start again, stop. Attempt and restarts are on disk
before they are acted on, so that a runner killed at any moment loses no count.
"""

import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from stepstream_operator.api import TrainingJob
from stepstream_operator.api.status_types import ConditionType, JobStatus, Phase
from stepstream_operator.children import LEARNER, SIMULATOR
from stepstream_operator.local.display import Display, RunView
from stepstream_operator.local.figures import Figures, PhaseFractions, ReturnHistory, parse_figures
from stepstream_operator.local.kept import Kept
from stepstream_operator.local.plan import Plan
from stepstream_operator.local.run_directory import RunDirectory
from stepstream_operator.local.status_client import fetch_status
from stepstream_operator.local.wakeup import Wakeup
from stepstream_operator.status import (
    LearnerJob,
    LearnerReport,
    Observed,
    SimulatorSet,
    derive_job_status,
    learner_report,
    learners_due,
)
from stepstream_operator.status.troubles import how_it_ended
from stepstream_trainer.config.contract import EXIT_DONE, EXIT_INVALID, EXIT_RESUME

_jitter = random.Random()  # of its own: a global generator belongs to whoever seeds it

TICK_SECONDS = 1.0
LEARNER_GRACE_SECONDS = 120.0
"""For a checkpoint on Ctrl-C, as in a cluster; a second Ctrl-C does not wait."""
SIMULATOR_GRACE_SECONDS = 5.0


class Supervisor:
    """Runs one job in one directory to its end. Main thread only."""

    def __init__(
        self,
        begin: Callable[[int], Plan],
        *,
        job: TrainingJob,
        directory: RunDirectory,
        display: Display,
        wakeup: Wakeup,
    ) -> None:
        """`begin` writes the files of an attempt and gives its processes."""
        self._begin = begin
        self._job = job
        self._directory = directory
        self._display = display
        self._wakeup = wakeup
        self._status = directory.status()
        self._learners: list[Kept] = []
        self._simulators: list[Kept] = []
        self._status_address = ""
        self._stop_requests_heeded = 0
        self._kill_at: float | None = None
        self._started = time.monotonic()
        self._asked_at = -TICK_SECONDS
        self._report: LearnerReport | None = None
        self._figures: Figures | None = None
        self._fractions, self._returns = PhaseFractions(), ReturnHistory()

    def run(self) -> JobStatus:
        """Blocks. Whatever way it ends, none of its processes is left. The status is finished, or suspended."""
        try:
            self._decide()
            while not self._is_over():
                self._start_due()
                self._wakeup.wait(self._seconds_until_next())
                self._heed_stop_requests()
                self._ask()
                self._revive()
                self._decide()
            return self._status
        finally:
            _stop(self._simulators, SIMULATOR_GRACE_SECONDS, self._wakeup)
            _stop(self._learners, 0.0, self._wakeup)

    def _is_over(self) -> bool:
        return self._status.finished or (self._stopping and not any(kept.runs for kept in self._learners))

    def _decide(self) -> None:
        """Derive how the job stands; write it where it is new; follow where it leads."""
        spec = replace(self._job.spec, suspend=self._stopping)
        status = derive_job_status(replace(self._job, spec=spec), self._observed(), datetime.now(UTC))
        before, self._status = self._status, status
        if status != before:
            self._save(status)
        if status.attempt != before.attempt or not self._learners:
            if status.failure is not None and status.failure != before.failure:
                self._display.note(f"{status.failure.message}; attempt {status.attempt} follows")
            self._begin_attempt()

    def _save(self, status: JobStatus) -> None:
        """A full disk must not end a run whose learner can go on: only a killed runner would miss what is lost here."""
        try:
            self._directory.save_status(status)
        except OSError as error:
            self._display.note(f"state.json could not be written: {error.strerror}")

    def _begin_attempt(self) -> None:
        """Learners live and die together. Simulators outlive them: they reconnect."""
        _stop(self._learners, 0.0, self._wakeup)
        attempt = self._status.attempt
        plan = self._begin(attempt)
        due = self._learners_due()
        self._status_address = plan.status_address
        self._learners = [
            Kept(spec=spec, role=LEARNER, attempt=attempt, due=due, retries=plan.learner_retries)
            for spec in plan.learners
        ]
        if not self._simulators:
            now = time.monotonic()
            self._simulators = [Kept(spec=spec, role=SIMULATOR, attempt=attempt, due=now) for spec in plan.simulators]

    def _learners_due(self) -> float:
        """Monotonic; now, unless the operator would make a failed learner wait."""
        due = learners_due(self._status)
        delay = 0.0 if due is None else (due - datetime.now(UTC)).total_seconds()
        return time.monotonic() + max(0.0, delay)

    def _observed(self) -> Observed:
        answered = self._report is not None and self._report.attempt == self._status.attempt
        pods = [kept.as_pod(ready=answered) for kept in self._learners]
        pods += [kept.as_pod(ready=True) for kept in self._simulators]
        return Observed(
            previous=self._status,
            learner_job=self._learner_job(),
            simulator_set=SimulatorSet(desired=len(self._simulators)),
            pods=tuple(pods),
            reports=() if self._report is None else (self._report,),
        )

    def _learner_job(self) -> LearnerJob | None:
        """What the Job's controller would say of the learners. What we stop ourselves is no failure."""
        if not self._learners:
            return None
        failed = any(kept.failed and kept.due is None for kept in self._learners) and not self._stopping
        succeeded = all(kept.exit_code == EXIT_DONE for kept in self._learners)
        return LearnerJob(attempt=self._learners[0].attempt, succeeded=succeeded, failed=failed)

    def _revive(self) -> None:
        """Start again what ended without that being a failure of the job."""
        if self._stopping:
            return
        for kept in self._learners:
            if kept.exit_code == EXIT_RESUME and kept.due is None:
                self._display.note(f"{kept.spec.name} asked to be started again, and is")
                kept.due = time.monotonic()
            elif kept.failed and kept.due is None and kept.retries > 0 and kept.exit_code != EXIT_INVALID:
                kept.retries -= 1
                self._revive_failed(kept)
        if all(kept.exit_code == EXIT_DONE for kept in self._learners):
            return
        for kept in self._simulators:
            if kept.process is not None and kept.exit_code is not None and kept.due is None:
                self._revive_failed(kept)

    def _revive_failed(self, kept: Kept) -> None:
        """Only what it was doing is lost."""
        assert kept.process is not None
        delay = kept.start_again_after(kept.process.lived_seconds, _jitter.random())
        if kept.exit_code != EXIT_DONE:  # a simulator that ended well was told that the job is over
            ending = how_it_ended(kept.as_pod(ready=False).termination)
            self._display.note(f"{kept.spec.name} ended with {ending}; starts again in {delay:.1f} s")

    def _start_due(self) -> None:
        now = time.monotonic()
        for due, kept in self._due():
            if due <= now:
                kept.start()

    def _due(self) -> list[tuple[float, Kept]]:
        """What is to be started, and when; nothing any more while the run stops."""
        everybody = [] if self._stopping else [*self._learners, *self._simulators]
        return [(kept.due, kept) for kept in everybody if kept.due is not None]

    def _heed_stop_requests(self) -> None:
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._kill_at = None
            left = [kept for kept in self._learners if kept.runs]
            self._display.note(f"{_named(left)} did not end within {LEARNER_GRACE_SECONDS:.0f} s: killed")
            _signal(self._learners, signal.SIGKILL)
        if self._wakeup.stop_requests == self._stop_requests_heeded:
            return
        first = not self._stopping
        self._stop_requests_heeded = self._wakeup.stop_requests
        if first:
            writes = "the learner writes" if len(self._learners) == 1 else "the learners write"
            self._display.note(f"stopping: {writes} a checkpoint (Ctrl-C again: stop without one)")
            self._kill_at = time.monotonic() + LEARNER_GRACE_SECONDS
            _signal(self._learners, signal.SIGTERM)
        else:
            _signal([*self._learners, *self._simulators], signal.SIGKILL)

    def _ask(self) -> None:
        """Ask the first learner for its /status and show what it says, once a tick."""
        now = time.monotonic()
        if now - self._asked_at < TICK_SECONDS:
            return
        self._asked_at = now
        answer = fetch_status(self._status_address)
        if answer is not None:
            self._take(answer, now)
        self._display.show(self._view(now))

    def _take(self, answer: dict[str, Any], now: float) -> None:
        before, self._report = self._report, learner_report(answer)
        decision = self._report.mode_decision
        if decision is not None and (before is None or decision != before.mode_decision):
            self._display.note(f"mode {decision.selected.value}: {decision.reason}")
        self._figures = parse_figures(answer)
        self._fractions.add(self._figures, now)
        self._returns.add(self._figures.episode_return)

    def _view(self, now: float) -> RunView:
        figures = self._figures
        return RunView(
            title=f"{self._job.name}: {self._job.spec.environment.id} {self._job.spec.algorithm.name.value}",
            directory=self._directory.shown,
            phase="Stopping" if self._stopping else self._status.phase.value,
            message=self._message(),
            attempt=self._status.attempt,
            elapsed_seconds=now - self._started,
            unix_time=time.time(),
            simulators_up=sum(kept.runs for kept in self._simulators),
            simulators_wanted=len(self._simulators),
            learners_up=sum(kept.runs for kept in self._learners),
            learners_wanted=len(self._learners),
            figures=figures,
            fractions=self._fractions.latest(),
            returns=self._returns.points,
        )

    def _message(self) -> str:
        """The learner's own sentence, such as about a checkpoint that failed, or what is the matter, if anything is."""
        if self._figures is not None and self._figures.message:
            return self._figures.message
        well = self._status.phase is Phase.Running and not self._status.holds(ConditionType.Degraded)
        return "" if well else self._status.message

    @property
    def _stopping(self) -> bool:
        return self._stop_requests_heeded > 0

    def _seconds_until_next(self) -> float:
        return min([self._asked_at + TICK_SECONDS, *(due for due, _ in self._due())]) - time.monotonic()


def _named(kept: Sequence[Kept]) -> str:
    return ", ".join(one.spec.name for one in kept)


def _signal(kept: Sequence[Kept], number: signal.Signals) -> None:
    for one in kept:
        if one.process is not None:
            one.process.signal(number)


def _stop(kept: Sequence[Kept], grace_seconds: float, wakeup: Wakeup) -> None:
    """SIGTERM, then SIGKILL to those that are there after the grace; returns when all have ended."""
    deadline = time.monotonic() + grace_seconds
    if grace_seconds > 0:
        _signal(kept, signal.SIGTERM)
    while any(one.runs for one in kept) and time.monotonic() < deadline:
        wakeup.wait(deadline - time.monotonic())
    _signal(kept, signal.SIGKILL)
    for one in kept:
        if one.process is not None:
            one.process.child.wait()
