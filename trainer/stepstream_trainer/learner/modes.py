"""Which mode the loop runs in: the job's, or with `Auto` the one that was faster here.

    learning goes on --> Sync | Async | Sync | Async    windows of the live job: their steps count and are learned from
                     --> decide by steps a second, at a policy lag that is acceptable; say why
                     --> stay so, until the number of simulators has been another for a while: then measure again

Windows alternate, so that a machine that slows down slows both modes. Pure: time comes in by a clock, all else by
arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from stepstream_trainer.config import Mode

WINDOWS: Final = (Mode.Sync, Mode.Async, Mode.Sync, Mode.Async)
WINDOW_SECONDS: Final = 5.0
WINDOW_ITERATIONS: Final = 4
"""At least; long iterations make long windows."""
SETTLING_ITERATIONS: Final = 2
"""Not counted where a mode begins: the first to collect ahead finds nobody learning, and caches are cold."""
MARGIN: Final = 0.05
"""By which Async must be faster: Sync is on-policy and repeatable, which is worth that much."""
HYSTERESIS: Final = 0.10
"""By which the other mode must be faster for a choice to be changed again."""
CHANGED_SECONDS: Final = 60.0
"""For so long another number of simulators is a fluctuation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Iteration:
    """What the loop has just done."""

    mode: Mode
    """In which."""
    steps: int
    policy_lag: float | None
    """Updates, on average; None where samples come from a replay."""
    learning: bool
    """Whether there is anything to learn from yet: a replay fills first."""
    simulators: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Why `Auto` became what it is."""

    selected: Mode
    sync_steps_per_second: float
    async_steps_per_second: float
    policy_lag: float | None
    """Mean of the windows in mode Async, updates."""
    reason: str


class Modes(Protocol):
    """Loop thread only."""

    @property
    def mode(self) -> Mode:
        """Sync or Async: what to run in now."""

    @property
    def calibrating(self) -> bool:
        """Whether it is being measured."""

    def iterated(self, made: Callable[[], Iteration]) -> None:
        """The loop has iterated in `mode`; `made` tells what it did, to those who measure."""


class Fixed:
    """What the job says."""

    calibrating = False

    def __init__(self, mode: Mode) -> None:
        self.mode = mode

    def iterated(self, made: Callable[[], Iteration]) -> None:
        pass


@dataclass(slots=True)
class _Measured:
    """One mode's windows together."""

    seconds: float = 0.0
    steps: int = 0
    lag_steps: float = 0.0
    """Policy lag times steps."""

    @property
    def steps_per_second(self) -> float:
        return self.steps / self.seconds if self.seconds > 0 else 0.0


@dataclass(slots=True)
class _Calibration:
    """One round of windows."""

    window: int = 0
    iterations: int = 0
    """Of this window, settling ones included."""
    window_seconds: float = 0.0
    """Of this window, without settling ones."""
    measured: dict[Mode, _Measured] = field(default_factory=lambda: {mode: _Measured() for mode in WINDOWS})

    @property
    def mode(self) -> Mode:
        return WINDOWS[self.window]

    def add(self, iteration: Iteration, seconds: float) -> bool:
        """Whether the round is complete. What was collected ahead of a switch is learned from in its old mode."""
        if iteration.mode is not self.mode:
            return False
        self.iterations += 1
        if self.iterations <= SETTLING_ITERATIONS:
            return False
        measured = self.measured[self.mode]
        measured.seconds += seconds
        measured.steps += iteration.steps
        measured.lag_steps += (iteration.policy_lag or 0.0) * iteration.steps
        self.window_seconds += seconds
        if self.iterations < SETTLING_ITERATIONS + WINDOW_ITERATIONS or self.window_seconds < WINDOW_SECONDS:
            return False
        self.window, self.iterations, self.window_seconds = self.window + 1, 0, 0.0
        return self.window == len(WINDOWS)


class Chosen:
    """`Auto`: by measurement."""

    def __init__(self, *, max_policy_lag: int, told: Callable[[Decision], None], clock: Callable[[], float]) -> None:
        """`told` hears of every decision; `clock` gives monotonic seconds."""
        self._max_policy_lag = max_policy_lag
        self._told = told
        self._clock = clock
        self._iterated_at = clock()
        self._selected = Mode.Sync
        self._decided = False
        self._calibration: _Calibration | None = None
        self._simulators = 0
        """When it was decided."""
        self._changed_at: float | None = None

    @property
    def mode(self) -> Mode:
        return self._selected if self._calibration is None else self._calibration.mode

    @property
    def calibrating(self) -> bool:
        return self._calibration is not None

    def iterated(self, made: Callable[[], Iteration]) -> None:
        iteration, now = made(), self._clock()
        seconds, self._iterated_at = now - self._iterated_at, now
        if self._calibration is not None:
            if self._calibration.add(iteration, seconds):
                self._decide(self._calibration.measured, iteration)
        elif iteration.learning and (not self._decided or self._has_changed(iteration.simulators, now)):
            self._calibration = _Calibration()

    def _has_changed(self, simulators: int, now: float) -> bool:
        """Whether their number has been another than at the decision for long enough."""
        if simulators == self._simulators:
            self._changed_at = None
        elif self._changed_at is None:
            self._changed_at = now
        return self._changed_at is not None and now - self._changed_at >= CHANGED_SECONDS

    def _decide(self, measured: dict[Mode, _Measured], iteration: Iteration) -> None:
        sync, ahead = measured[Mode.Sync], measured[Mode.Async]
        lag = ahead.lag_steps / ahead.steps
        decision = decide(
            sync_rate=sync.steps_per_second,
            async_rate=ahead.steps_per_second,
            policy_lag=None if iteration.policy_lag is None else lag,
            max_policy_lag=self._max_policy_lag,
            before=self._selected if self._decided else None,
        )
        self._selected, self._decided, self._calibration = decision.selected, True, None
        self._simulators, self._changed_at = iteration.simulators, None
        self._told(decision)


def decide(
    *, sync_rate: float, async_rate: float, policy_lag: float | None, max_policy_lag: int, before: Mode | None
) -> Decision:
    """Rates in steps a second; `before` is what had been chosen, None the first time."""
    gain = async_rate / sync_rate - 1 if sync_rate > 0 else 0.0
    margin = {None: MARGIN, Mode.Sync: HYSTERESIS, Mode.Async: -HYSTERESIS}[before]
    too_old = policy_lag is not None and policy_lag > max_policy_lag
    selected = Mode.Async if gain > margin and not too_old else Mode.Sync
    rates = f"Async made {async_rate:,.0f} steps/s, Sync {sync_rate:,.0f}"
    if too_old:
        reason = f"{rates}, but by policies {policy_lag:.1f} updates old: more than maxPolicyLag, {max_policy_lag}"
    elif before is not None and selected is before:
        reason = f"{rates}: {before.value} stays, as the other must be faster by {HYSTERESIS:.0%}"
    elif selected is Mode.Async:
        reason = f"{rates}: faster by {gain:.0%}"
    elif before is None:
        reason = f"{rates}: Async must be faster by {MARGIN:.0%}"
    else:
        reason = f"{rates}: slower by {-gain:.0%}"
    return Decision(
        selected=selected,
        sync_steps_per_second=sync_rate,
        async_steps_per_second=async_rate,
        policy_lag=policy_lag,
        reason=reason,
    )
