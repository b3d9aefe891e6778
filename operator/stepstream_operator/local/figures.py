"""The figures of a learner's /status that people look at, parsed once, and the little history a display keeps."""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

WINDOW_SECONDS = 30.0
HISTORY_POINTS = 48


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """One /status. Times are Unix seconds."""

    attempt: int
    phase: str
    mode: str
    message: str
    steps: int
    total_steps: int
    frames: int
    updates: int
    episodes: int
    steps_per_second: float
    episode_return: float | None
    episode_length: float | None
    policy_lag: float | None
    percent: float
    remaining_seconds: float | None
    phase_seconds: Mapping[str, float]
    slots_total: int
    slots_leased: int
    simulators: int
    checkpoint_step: int | None
    checkpoint_time: float | None
    checkpoint_failures: int


def parse_figures(status: Mapping[str, Any]) -> Figures:
    """`status` is a learner's own answer."""
    checkpoint = status["checkpoint"]
    written = checkpoint["time"]
    return Figures(
        attempt=status["attempt"],
        mode=status["mode"],
        phase=status["phase"],
        message=status["message"],
        steps=status["steps"],
        total_steps=status["totalSteps"],
        frames=status["frames"],
        updates=status["updates"],
        episodes=status["episodes"],
        steps_per_second=status["stepsPerSecond"],
        episode_return=status["episodeReturn"],
        episode_length=status["episodeLength"],
        policy_lag=status["policyLag"],
        percent=status["percent"],
        remaining_seconds=status["estimatedRemainingSeconds"],
        phase_seconds=status["phaseSeconds"],
        slots_total=status["slots"]["total"],
        slots_leased=status["slots"]["leased"],
        simulators=status["simulators"],
        checkpoint_step=checkpoint["step"],
        checkpoint_time=None if written is None else datetime.fromisoformat(written).timestamp(),
        checkpoint_failures=checkpoint["failures"],
    )


class PhaseFractions:
    """Where the loop's time went in the last WINDOW_SECONDS."""

    def __init__(self) -> None:
        self._window: deque[tuple[float, int, Mapping[str, float]]] = deque()

    def add(self, figures: Figures, now: float) -> None:
        if self._window and self._window[-1][1] != figures.attempt:
            self._window.clear()
        self._window.append((now, figures.attempt, figures.phase_seconds))
        while len(self._window) > 2 and self._window[1][0] <= now - WINDOW_SECONDS:
            self._window.popleft()

    def latest(self) -> dict[str, float]:
        """Fraction by phase; empty while no time was spent."""
        if len(self._window) < 2:
            return {}
        first, last = self._window[0][2], self._window[-1][2]
        spent = {phase: last[phase] - first[phase] for phase in last}
        whole = sum(spent.values())
        return {phase: seconds / whole for phase, seconds in spent.items()} if whole > 0 else {}


class ReturnHistory:
    """The mean return over the whole run in at most HISTORY_POINTS points, twice as far apart when there are more."""

    def __init__(self) -> None:
        self.points: list[float] = []
        self._seen = 0
        self._spacing = 1

    def add(self, episode_return: float | None) -> None:
        if episode_return is None or not math.isfinite(episode_return):
            return
        if self._seen % self._spacing == 0:
            self.points.append(episode_return)
        self._seen += 1
        if len(self.points) > HISTORY_POINTS:
            self.points = self.points[::2]
            self._spacing *= 2


_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float]) -> str:
    """One bar a value between the lowest and the highest; a flat line where they are all equal."""
    if not values:
        return ""
    low, high = min(values), max(values)
    if low == high:
        return _BARS[0] * len(values)
    if math.isinf(high - low):
        return sparkline([value / 2 for value in values])
    return "".join(_BARS[int((value - low) / (high - low) * (len(_BARS) - 1))] for value in values)
