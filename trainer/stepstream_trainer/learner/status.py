"""The learner's /status: one JSON object, read alike by the operator, the local display and a person with curl.

The loop calls `advance` about once a second; the HTTP server's threads call `snapshot`. All rates are over the last
WINDOW_SECONDS, long enough to hold a rollout and its update and short enough to show a change.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from stepstream_trainer.config import Mode
from stepstream_trainer.learner.metrics import STARVING, LoopPhase, ReplayStands
from stepstream_trainer.learner.modes import Decision

WINDOW_SECONDS = 30.0
STALLED_SECONDS = 300.0  # the longest update of a large batch on a slow CPU is well under a minute


class Phase(StrEnum):
    """What the learner as a whole is doing."""

    STARTING = "Starting"
    CALIBRATING = "Calibrating"
    """As RUNNING; mode Auto is being decided."""
    RUNNING = "Running"
    EVALUATING = "Evaluating"
    STOPPING = "Stopping"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


ADVANCING = (Phase.STARTING, Phase.CALIBRATING, Phase.RUNNING, Phase.EVALUATING)
"""In which a loop that does not advance is stuck."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """What does not change while the process lives."""

    job: str
    attempt: int
    rank: int
    frame_skip: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How the job stands, as the loop sees it. Counts are since the job began, seconds since the process started."""

    steps: int = 0
    updates: int = 0
    episodes: int = 0
    episode_return: float | None = None  # mean true return of the last stopWhen.episodes; None before the first
    episode_length: float | None = None  # their mean length, steps
    policy_lag: float | None = None  # updates; None before the first, and where samples come from a replay
    phase_seconds: Mapping[LoopPhase, float] = field(default_factory=dict)
    slot_wait_seconds: float = 0.0  # summed over slots: stood still because their simulators waited for actions
    slots_total: int = 0
    slots_leased: int = 0
    slots_rebuilding: int = 0  # of those leased: their simulators replay the episodes that others began
    simulators: int = 0
    replay: ReplayStands | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sample:
    """A point of the sliding window."""

    time: float
    steps: int
    wait_seconds: float
    slot_wait_seconds: float


class LearnerStatus:
    """A thread-safe snapshot. `clock` is monotonic seconds, `unix_time` seconds since 1970."""

    def __init__(
        self,
        identity: Identity,
        *,
        total_steps: int,
        mode: Mode = Mode.Sync,
        clock: Callable[[], float] = time.monotonic,
        unix_time: Callable[[], float] = time.time,
    ) -> None:
        self._identity = identity
        self._clock = clock
        self._unix_time = unix_time
        self._lock = threading.Lock()
        self._total_steps = total_steps
        self._phase = Phase.STARTING
        self._mode = mode
        self._decision: Decision | None = None
        self._message = ""
        self._progress = Progress()
        self._window: deque[_Sample] = deque()
        self._checkpoint: dict[str, Any] = {"step": None, "path": None, "time": None, "failures": 0}
        self._checkpoint_problem = ""
        self._evaluation: dict[str, float] | None = None
        self._last_update_time: float | None = None
        self._last_sign_of_life = clock()

    def enter(self, phase: Phase, message: str = "") -> None:
        """`message` is the one sentence a person needs, or nothing."""
        with self._lock:
            self._phase, self._message = phase, message
            self._last_sign_of_life = self._clock()

    def runs_in(self, mode: Mode, *, calibrating: bool) -> None:
        """Sync or Async, from now on."""
        with self._lock:
            self._phase = Phase.CALIBRATING if calibrating else Phase.RUNNING
            self._last_sign_of_life = self._clock()
            if mode is not self._mode:
                self._mode = mode
                self._window.clear()  # waiting means another thing in each

    def decided(self, decision: Decision) -> None:
        """`Auto` has been decided."""
        with self._lock:
            self._decision = decision

    def alive(self) -> None:
        """A sign of life while there is no progress to tell of."""
        with self._lock:
            self._last_sign_of_life = self._clock()

    def budget(self, total_steps: int) -> None:
        """totalSteps was changed in the job."""
        with self._lock:
            self._total_steps = total_steps

    def advance(self, progress: Progress) -> None:
        """The loop's thread, about once a second, also while it waits for simulators."""
        now = self._clock()
        wait_seconds = sum(progress.phase_seconds.get(phase, 0.0) for phase in STARVING)
        with self._lock:
            if progress.updates != self._progress.updates:
                self._last_update_time = self._unix_time()
            self._progress = progress
            self._last_sign_of_life = now
            self._window.append(
                _Sample(
                    time=now,
                    steps=progress.steps,
                    wait_seconds=wait_seconds,
                    slot_wait_seconds=progress.slot_wait_seconds,
                )
            )
            while len(self._window) > 2 and self._window[1].time <= now - WINDOW_SECONDS:
                self._window.popleft()

    def checkpoint_written(self, *, step: int, path: str, time: float | None = None) -> None:
        """`time` (Unix seconds) is now, unless the checkpoint is the one that was resumed from."""
        written = self._unix_time() if time is None else time
        with self._lock:
            failures = self._checkpoint["failures"]
            self._checkpoint = {"step": step, "path": path, "time": _timestamp(written), "failures": failures}
            self._checkpoint_problem = ""

    def checkpoint_failed(self, message: str) -> None:
        """`message` is shown until a checkpoint succeeds."""
        with self._lock:
            self._checkpoint["failures"] += 1
            self._checkpoint_problem = message

    def evaluated(self, *, step: int, mean_return: float) -> None:
        with self._lock:
            self._evaluation = {"step": step, "meanReturn": mean_return}

    def steps_per_second(self) -> float:
        with self._lock:
            return self._rate(lambda sample: sample.steps)

    def healthy(self) -> str | None:
        """Nothing, or the sentence that says why the process should be replaced."""
        with self._lock:
            silent = self._clock() - self._last_sign_of_life
            if self._phase in ADVANCING and silent > STALLED_SECONDS:
                return f"the loop has not advanced for {silent:.0f} s"
            return None

    def snapshot(self) -> dict[str, Any]:
        """What /status answers. Any thread."""
        with self._lock:
            return {
                "job": self._identity.job,
                "attempt": self._identity.attempt,
                "rank": self._identity.rank,
                "mode": self._mode.value,
                "modeDecision": self._mode_decision(),
                "phase": self._phase.value,
                "message": self._checkpoint_problem or self._message or self._rebuilding() or self._refilling(),
                **self._counters(),
                **self._forecast(),
                **self._surroundings(),
                "checkpoint": dict(self._checkpoint),
                "evaluation": self._evaluation,
                "replay": self._replay(),
                "lastUpdateTime": None if self._last_update_time is None else _timestamp(self._last_update_time),
            }

    def _counters(self) -> dict[str, Any]:
        progress = self._progress
        return {
            "steps": progress.steps,
            "frames": progress.steps * self._identity.frame_skip,
            "updates": progress.updates,
            "episodes": progress.episodes,
            "episodeReturn": progress.episode_return,
            "episodeLength": progress.episode_length,
            "policyLag": progress.policy_lag,
        }

    def _forecast(self) -> dict[str, Any]:
        rate = self._rate(lambda sample: sample.steps)
        left = max(0, self._total_steps - self._progress.steps)
        return {
            "totalSteps": self._total_steps,
            "stepsPerSecond": rate,
            "percent": percent(self._progress.steps, self._total_steps),
            "estimatedRemainingSeconds": left / rate if rate > 0 else None,
        }

    def _surroundings(self) -> dict[str, Any]:
        progress = self._progress
        return {
            "phaseSeconds": {phase.value: progress.phase_seconds.get(phase, 0.0) for phase in LoopPhase},
            "slots": {
                "total": progress.slots_total,
                "leased": progress.slots_leased,
                "rebuilding": progress.slots_rebuilding,
            },
            "simulators": progress.simulators,
            "waiting": {
                "learnerFraction": self._rate(lambda sample: sample.wait_seconds) / self._threads,
                "simulatorFraction": self._simulators_wait(),
            },
        }

    @property
    def _threads(self) -> int:
        """That collect and learn."""
        return 2 if self._mode is Mode.Async else 1

    def _mode_decision(self) -> dict[str, Any] | None:
        """None where the job said it, and until it is decided."""
        decision = self._decision
        if decision is None:
            return None
        return {
            "selected": decision.selected.value,
            "syncStepsPerSecond": decision.sync_steps_per_second,
            "asyncStepsPerSecond": decision.async_steps_per_second,
            "policyLag": decision.policy_lag,
            "reason": decision.reason,
        }

    def _rebuilding(self) -> str:
        count = self._progress.slots_rebuilding
        return f"simulators replay the episodes of {count} slots" if count else ""

    def _refilling(self) -> str:
        replay = self._progress.replay
        if replay is None or not replay.steps_to_learning:
            return ""
        begins = "goes on" if self._progress.updates else "begins"
        return f"the replay fills: learning {begins} after {replay.steps_to_learning:,} more steps"

    def _replay(self) -> dict[str, Any] | None:
        """None where the algorithm has no replay."""
        replay = self._progress.replay
        if replay is None:
            return None
        return {
            "steps": replay.steps,
            "capacitySteps": replay.capacity_steps,
            "ratioAsked": replay.ratio_asked,
            "ratioReached": replay.ratio_reached,
            "epsilon": replay.epsilon,
            "stepsToLearning": replay.steps_to_learning,
        }

    def _simulators_wait(self) -> float | None:
        """Fraction of the leased slots' time; None before there are any."""
        leased = self._progress.slots_leased
        rate = self._rate(lambda sample: sample.slot_wait_seconds)
        return min(1.0, rate / leased) if leased and len(self._window) > 1 else None

    def _rate(self, value: Callable[[_Sample], float]) -> float:
        """Rise of `value` a second over the window; 0 before two samples. The lock is held."""
        if len(self._window) < 2:
            return 0.0
        first, last = self._window[0], self._window[-1]
        return (value(last) - value(first)) / (last.time - first.time) if last.time > first.time else 0.0


def percent(steps: int, total_steps: int) -> float:
    """Of the budget, 0 to 100."""
    return min(100.0, 100.0 * steps / total_steps) if total_steps > 0 else 0.0


def _timestamp(unix_seconds: float) -> str:
    """RFC 3339 in UTC with whole seconds, as Kubernetes writes times."""
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
