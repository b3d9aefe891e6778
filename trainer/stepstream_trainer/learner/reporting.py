"""What the loop tells the world: about once a second, and at every checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from stepstream_trainer.config import Mode
from stepstream_trainer.learner.checkpoint import Manifest
from stepstream_trainer.learner.episodes import EpisodeTracker
from stepstream_trainer.learner.evaluations import Evaluated
from stepstream_trainer.learner.event_log import EventLog
from stepstream_trainer.learner.experience import Learned
from stepstream_trainer.learner.gathering import Interrupted
from stepstream_trainer.learner.leasing import Service
from stepstream_trainer.learner.metrics import LearnerMetrics
from stepstream_trainer.learner.modes import Decision, Iteration
from stepstream_trainer.learner.status import LearnerStatus, Progress
from stepstream_trainer.learner.trace import TraceFile
from stepstream_trainer.logs import get_log

_log = get_log("reporting")

STATUS_SECONDS = 1.0
HISTORY_SECONDS = 5.0
"""Between lines of metrics.jsonl: fine enough for a curve of minutes, a few MB for a run of days."""


class Reporter:
    """Spreads figures to metrics, /status and the history. The loop's thread, save where it says any."""

    def __init__(
        self,
        *,
        metrics: LearnerMetrics,
        status: LearnerStatus,
        history: EventLog,
        episodes: EpisodeTracker,
        num_slots: int,
        service: Callable[[], Service],
        trace: TraceFile,
        stop: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._status = status
        self._history = history
        self._episodes = episodes
        self._num_slots = num_slots
        self._service = service
        self._trace = trace
        self._stop = stop
        self._clock = clock
        self._told_at = self._recorded_at = clock()
        self._losses: Mapping[str, float] = {}
        self._learning_rate = 0.0
        self._policy_lag: float | None = None

    def stopping(self) -> bool:
        """Whether the learner was asked to stop. Any thread."""
        return self._stop()

    def pause(self) -> None:
        """Between steps and while waiting: raises Interrupted when the learner was asked to stop."""
        if self.stopping():
            raise Interrupted
        self.tick()

    def tick(self) -> None:
        """Bring /status and, less often, the history up to date."""
        now = self._clock()
        if now - self._told_at < STATUS_SECONDS:
            return
        self._told_at = now
        self.tell()
        if now - self._recorded_at >= HISTORY_SECONDS and self._metrics.totals.updates:
            self._recorded_at = now
            self._record()

    def finish(self) -> None:
        """The last word: everything as it stands now."""
        self.tell()
        self._record()
        self._trace.write()

    def runs_in(self, mode: Mode, *, calibrating: bool) -> None:
        """From now on, whatever the job asked for."""
        self._status.runs_in(mode, calibrating=calibrating)
        self._metrics.runs_in(mode)

    def decided(self, decision: Decision) -> None:
        """`Auto` has been decided."""
        self._status.decided(decision)
        self._metrics.decided(decision)
        _log.info("mode_decided", mode=decision.selected.value, reason=decision.reason)

    def iteration(self, mode: Mode, steps: int) -> Iteration:
        """What the loop has just done, in this mode, with `steps`."""
        totals = self._metrics.totals
        return Iteration(
            mode=mode,
            steps=steps,
            policy_lag=self._policy_lag,
            learning=totals.updates > 0 and (totals.replay is None or totals.replay.steps_to_learning == 0),
            simulators=self._service().simulators,
        )

    def updated(self, learned: Learned, *, seconds: float) -> None:
        """One update was made."""
        losses = dict(learned.figures)
        self._policy_lag = learned.policy_lag
        self._learning_rate = losses.pop("learning_rate")
        self._losses = losses
        self._metrics.updated(
            rows=learned.rows,
            seconds=seconds,
            policy_lag=learned.policy_lag,
            learning_rate=self._learning_rate,
            losses=losses,
        )

    def checkpoint_written(self, manifest: Manifest, path: Path, seconds: float) -> None:
        self._metrics.checkpoint_written(seconds=seconds)
        self._status.checkpoint_written(step=manifest.step, path=str(path))
        self._trace.write()
        _log.info("checkpoint_written", step=manifest.step, bytes=manifest.bytes, seconds=seconds)

    def evaluated(self, found: Evaluated) -> None:
        """An evaluation ended."""
        self._metrics.evaluated(step=found.step, mean_return=found.mean_return)
        self._status.evaluated(step=found.step, mean_return=found.mean_return)
        self._history.evaluated(step=found.step, mean_return=found.mean_return)

    def resumed(self, manifest: Manifest, path: Path) -> None:
        """The job goes on from this checkpoint, which is what a crash goes back to until the next is written."""
        self._metrics.checkpoint_found(time=manifest.unix_time)
        self._status.checkpoint_written(step=manifest.step, path=str(path), time=manifest.unix_time)

    def checkpoint_failed(self, error: OSError, consequence: str) -> None:
        self._metrics.checkpoint_failed()
        self._status.checkpoint_failed(f"the checkpoint could not be written ({error}); {consequence}")
        _log.error("checkpoint_failed", reason=error)

    def tell(self) -> None:
        """Bring /status up to date."""
        totals, recent, service = self._metrics.totals, self._episodes.recent, self._service()
        self._status.advance(
            Progress(
                steps=totals.steps,
                updates=totals.updates,
                episodes=self._episodes.finished,
                episode_return=recent.mean_return,
                episode_length=recent.mean_length,
                policy_lag=self._policy_lag,
                phase_seconds=dict(totals.phase_seconds),
                slots_total=self._num_slots,
                slots_leased=service.leased,
                slots_rebuilding=service.rebuilding,
                simulators=service.simulators,
                slot_wait_seconds=totals.slot_wait_seconds,
                replay=totals.replay,
            )
        )
        self._metrics.stands(steps_per_second=self._status.steps_per_second(), episode_return_mean=recent.mean_return)

    def _record(self) -> None:
        self._history.append(self._status.snapshot(), losses=self._losses, learning_rate=self._learning_rate)
