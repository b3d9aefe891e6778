"""Keeps a run's processes alive until it is over. One thread, one loop:

    signals (Ctrl-C, a child's death) ---> wake up --> judge deaths --> start what is due --> ask /status --> show
                                              ^                                                               |
                                              +------------------- sleep until the next due time -------------+

Attempt and restarts are on disk before they are acted on, so that a runner killed at any moment loses no count.
"""

import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from stepstream_operator.api import TrainingJob
from stepstream_operator.local.backoff import Backoff
from stepstream_operator.local.display import Display, RunView
from stepstream_operator.local.ending import Ending
from stepstream_operator.local.judgement import Death, Judgement, Verdict, judge_learner
from stepstream_operator.local.plan import Plan
from stepstream_operator.local.processes import Process, ProcessSpec, describe_exit, start
from stepstream_operator.local.report import LearnerReport, PhaseFractions, ReturnHistory, parse_report
from stepstream_operator.local.run_directory import RunDirectory, RunState
from stepstream_operator.local.status_client import fetch_status
from stepstream_operator.local.wakeup import Wakeup
from stepstream_trainer.config import contract

TICK_SECONDS = 1.0
LEARNER_GRACE_SECONDS = 60.0
"""For a checkpoint on Ctrl-C; a second Ctrl-C does not wait."""
SIMULATOR_GRACE_SECONDS = 5.0
DISMISSED_SECONDS = 2.0
"""A simulator that ended well is started again after this, in case the learner goes on; at a job's end it does not."""


@dataclass(slots=True)
class _Kept:
    """A process that is to run from `due` (monotonic) on; None while it runs or when it is done."""

    spec: ProcessSpec
    due: float | None
    process: Process | None = None
    backoff: Backoff = field(default_factory=Backoff)


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
        self._title = f"{job.name}: {job.spec.environment.id} {job.spec.algorithm.name.value}"
        self._backoff_limit = job.spec.backoff_limit
        self._directory = directory
        self._display = display
        self._wakeup = wakeup
        self._state = directory.state()
        self._learners: list[_Kept] = []
        self._simulators: list[_Kept] = []
        self._stop_heeded = 0
        self._kill_at: float | None = None
        self._started = time.monotonic()
        self._told_at = -TICK_SECONDS
        self._report: LearnerReport | None = None
        self._fractions, self._returns = PhaseFractions(), ReturnHistory()
        self._message = ""

    def run(self) -> Ending:
        """Blocks. Whatever way it ends, none of its processes is left."""
        try:
            self._begin_attempt(restarts=self._state.restarts, delay_seconds=0.0)
            while True:
                judgement = self._tend()
                if judgement is not None:
                    return self._end(judgement)
        finally:
            self._stop_all()

    def _tend(self) -> Judgement | None:
        """One turn of the loop; the judgement that ends the run, if there is one."""
        self._heed_stop_requests()
        judgement = self._judge_learners() or self._judge_simulators()
        if judgement is not None:
            return judgement
        self._start_due()
        self._tell()
        self._wakeup.wait(self._seconds_until_next())
        return None

    def _begin_attempt(self, *, restarts: int, delay_seconds: float) -> None:
        attempt = self._state.attempt + 1
        self._save(replace(self._state, attempt=attempt, restarts=restarts, phase="Running", message=""))
        plan = self._begin(attempt)
        due = time.monotonic() + delay_seconds
        self._status_address = plan.status_address
        backoffs = [kept.backoff for kept in self._learners] or [Backoff()] * len(plan.learners)
        self._learners = [
            _Kept(spec=spec, due=due, backoff=backoff) for spec, backoff in zip(plan.learners, backoffs, strict=True)
        ]
        if not self._simulators:
            self._simulators = [_Kept(spec=spec, due=due) for spec in plan.simulators]

    def _heed_stop_requests(self) -> None:
        if self._wakeup.stop_requests == self._stop_heeded:
            return
        first = self._stop_heeded == 0
        self._stop_heeded = self._wakeup.stop_requests
        if first:
            self._display.note("stopping: the learner writes a checkpoint; once more kills it")
            self._message = "stopping"
            self._kill_at = time.monotonic() + LEARNER_GRACE_SECONDS
            _signal(self._learners, signal.SIGTERM)
        else:
            _signal([*self._learners, *self._simulators], signal.SIGKILL)

    def _judge_learners(self) -> Judgement | None:
        if self._stopping and not any(kept.process for kept in self._learners):
            return Judgement(verdict=Verdict.PAUSED, restarts=self._state.restarts, message="")
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            self._kill_at = None
            self._display.note(f"the learner did not end within {LEARNER_GRACE_SECONDS:.0f} s and is killed")
            _signal(self._learners, signal.SIGKILL)
        for kept in self._learners:
            death = _death(kept)
            if death is None or (death.exit_code == contract.EXIT_DONE and _anyone_runs(self._learners)):
                continue
            judgement = judge_learner(
                death, stopping=self._stopping, restarts=self._state.restarts, backoff_limit=self._backoff_limit
            )
            if judgement.verdict is not Verdict.RESTART:
                return judgement
            self._restart_learners(kept, judgement)
            return None
        return None

    def _restart_learners(self, dead: _Kept, judgement: Judgement) -> None:
        """Learners live and die together: whatever ends one ends the attempt of all."""
        assert dead.process is not None
        dead.backoff = dead.backoff.after(time.monotonic() - dead.process.started)
        asked_for = judgement.restarts == self._state.restarts
        _stop(self._learners, 0.0, self._wakeup)
        self._display.note(judgement.message)
        delay = 0.0 if asked_for else dead.backoff.delay_seconds(random.random())
        self._begin_attempt(restarts=judgement.restarts, delay_seconds=delay)

    def _judge_simulators(self) -> Judgement | None:
        for kept in self._simulators:
            death = _death(kept)
            if death is None or kept.process is None:
                continue
            if death.exit_code == contract.EXIT_INVALID:
                return Judgement(verdict=Verdict.FAILED, restarts=self._state.restarts, message=death.last_words)
            lived = time.monotonic() - kept.process.started
            kept.process = None
            if self._stopping:
                continue
            if (
                death.exit_code == contract.EXIT_DONE
            ):  # the learner said that the job is over, or somebody asked it to go
                kept.due = time.monotonic() + DISMISSED_SECONDS
                continue
            kept.backoff = kept.backoff.after(lived)
            delay = kept.backoff.delay_seconds(random.random())
            kept.due = time.monotonic() + delay
            words = f" ({death.last_words})" if death.last_words else ""
            self._display.note(f"{death.name} {describe_exit(death.exit_code)}{words}; started again in {delay:.1f} s")
        return None

    def _start_due(self) -> None:
        if self._stopping:
            return
        now = time.monotonic()
        for kept in [*self._learners, *self._simulators]:
            if kept.due is not None and kept.due <= now:
                kept.due = None
                kept.process = start(kept.spec, note=f"attempt {self._state.attempt}")

    def _tell(self) -> None:
        """Ask the learner and show what it says, once a tick."""
        now = time.monotonic()
        if now - self._told_at < TICK_SECONDS:
            return
        self._told_at = now
        status = fetch_status(self._status_address)
        if status is not None:
            self._report = parse_report(status)
            self._fractions.add(self._report, now)
            self._returns.add(self._report.episode_return)
        self._display.show(self._view(now))

    def _view(self, now: float) -> RunView:
        report = self._report
        fresh = report is not None and report.attempt == self._state.attempt
        phase = report.phase if report is not None and fresh else "Starting"
        return RunView(
            title=self._title,
            directory=self._directory.shown,
            phase="Stopping" if self._stopping else phase,
            message=self._message or (report.message if report is not None else ""),
            attempt=self._state.attempt,
            elapsed_seconds=now - self._started,
            unix_time=time.time(),
            simulators_up=sum(kept.process is not None for kept in self._simulators),
            simulators_wanted=len(self._simulators),
            report=report,
            fractions=self._fractions.latest(),
            returns=self._returns.points,
        )

    def _end(self, judgement: Judgement) -> Ending:
        """The learners' last word is asked for while their sockets may still answer; then all is stopped and saved."""
        _stop(self._learners, 0.0, self._wakeup)
        phase = {Verdict.SUCCEEDED: "Succeeded", Verdict.FAILED: "Failed"}.get(judgement.verdict, "Suspended")
        self._save(replace(self._state, restarts=judgement.restarts, phase=phase, message=judgement.message))
        return Ending(verdict=judgement.verdict, message=judgement.message)

    def _stop_all(self) -> None:
        """Simulators that were told the job is over end by themselves; the rest is asked, then killed."""
        _stop(self._simulators, SIMULATOR_GRACE_SECONDS, self._wakeup)
        _stop(self._learners, 0.0, self._wakeup)

    def _save(self, state: RunState) -> None:
        self._state = state
        self._directory.save_state(state)

    @property
    def _stopping(self) -> bool:
        return self._stop_heeded > 0

    def _seconds_until_next(self) -> float:
        dues = [kept.due for kept in [*self._learners, *self._simulators] if kept.due is not None]
        return min([self._told_at + TICK_SECONDS, *dues]) - time.monotonic()


def _death(kept: _Kept) -> Death | None:
    if kept.process is None:
        return None
    code = kept.process.exit_code()
    if code is None:
        return None
    return Death(name=kept.spec.name, exit_code=code, last_words=kept.process.last_words(), log=str(kept.spec.log))


def _anyone_runs(kept: Sequence[_Kept]) -> bool:
    return any(one.process is not None and one.process.exit_code() is None for one in kept)


def _signal(kept: Sequence[_Kept], number: signal.Signals) -> None:
    for one in kept:
        if one.process is not None:
            one.process.signal(number)


def _stop(kept: Sequence[_Kept], grace_seconds: float, wakeup: Wakeup) -> None:
    """SIGTERM, then SIGKILL to those that are there after the grace; returns when all have ended."""
    deadline = time.monotonic() + grace_seconds
    if grace_seconds > 0:
        _signal(kept, signal.SIGTERM)
    while _anyone_runs(kept) and time.monotonic() < deadline:
        wakeup.wait(deadline - time.monotonic())
    _signal(kept, signal.SIGKILL)
    for one in kept:
        if one.process is not None:
            one.process.child.wait()
