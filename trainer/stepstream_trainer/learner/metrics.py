"""The facade through which the loop reports to the metrics of `metric_catalogue.py`.

The loop calls `served` once a group and `updated` once an update; nothing here is called once a step. Counters count
since the process started (so that rates survive a resume); `Totals` counts since the job began.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from prometheus_client import CollectorRegistry

from stepstream_trainer.config import Mode
from stepstream_trainer.learner.metric_catalogue import (
    BATCH_ROWS,
    CHECKPOINT_AGE,
    CHECKPOINT_FAILURES,
    CHECKPOINT_SECONDS,
    CHECKPOINT_TIME,
    EPISODE_LENGTH,
    EPISODE_RETURN,
    EPISODE_RETURN_MEAN,
    EPISODES,
    EPSILON,
    EVALUATION_RETURN,
    EVALUATION_STEPS,
    FRAMES,
    INFERENCE_SECONDS,
    INFO,
    JOB_STEPS,
    LEARNING_RATE,
    LEASE_REPLAYED,
    LOSS,
    MODE,
    MODE_STEPS_PER_SECOND,
    PHASE_SECONDS,
    POLICY_LAG,
    PUSH_SECONDS,
    QUEUE_DEPTH,
    QUEUE_WAIT_SECONDS,
    REBUILT_DIFFERENTLY,
    REPLAY_AGE,
    REPLAY_CAPACITY,
    REPLAY_PRIORITY,
    REPLAY_RATIO,
    REPLAY_STEPS,
    ROWS,
    SIMULATORS_WAITED,
    SLOTS,
    STEPS,
    STEPS_PER_SECOND,
    STORE_LEARNERS,
    STREAMS,
    STREAMS_REFUSED,
    UPDATE_SECONDS,
    UPDATES,
)
from stepstream_trainer.learner.modes import Decision
from stepstream_trainer.learner.trace import Trace


class LoopPhase(StrEnum):
    """What the loop's time is spent on, and the sampling thread's where there is one.

    Every moment of a thread belongs to exactly one.
    """

    WAIT = "wait"
    """For simulators."""
    INFERENCE = "inference"
    HOLD = "hold"
    """The sampling thread, for the loop to have learned from what was collected."""
    IDLE = "idle"
    """The loop, for the sampling thread to collect."""
    LEARNERS = "learners"
    """The loop, for the other learners to collect."""
    OPTIMISE = "optimise"
    CHECKPOINT = "checkpoint"
    OTHER = "other"


STARVING = (LoopPhase.WAIT, LoopPhase.IDLE)
"""Time in which more simulators would have helped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplayStands:
    """How the replay stands, between two iterations."""

    steps: int
    """That can be sampled."""
    capacity_steps: int
    ratio_asked: float
    ratio_reached: float
    epsilon: float
    steps_to_learning: int
    """0 once it is filled far enough."""


@dataclass(slots=True)
class Totals:
    """Counts since the job began (restored at a resume) and seconds by phase since the process started."""

    steps: int = 0
    updates: int = 0
    phase_seconds: dict[LoopPhase, float] = field(default_factory=lambda: dict.fromkeys(LoopPhase, 0.0))
    slot_wait_seconds: float = 0.0
    replay: ReplayStands | None = None


class LearnerMetrics:
    """What the loop calls, and who collects. Methods are for these threads unless they say "any thread"."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        frame_skip: int,
        learners: int = 1,
        totals: Totals | None = None,
        trace: Trace | None = None,
        unix_time: Callable[[], float] = time.time,
    ) -> None:
        """`learners` make as many steps each. Each span of time that is accounted to a phase also goes to `trace`."""
        self.totals = totals if totals is not None else Totals()
        self._frame_skip = frame_skip
        self._learners = learners
        self._ahead = False
        """Whether steps are collected ahead: then they count when they are learned from."""
        self._trace = trace
        self._unix_time = unix_time
        self._checkpointed_at = math.nan
        self._lock = threading.Lock()
        self._mine = threading.local()
        self._register_progress(registry)
        self._register_replay(registry)
        self._register_surroundings(registry)
        self._job_steps.set_function(lambda: float(self.totals.steps))
        self._checkpoint_age.set_function(lambda: self._unix_time() - self._checkpointed_at)

    def _register_progress(self, registry: CollectorRegistry) -> None:
        phases = PHASE_SECONDS.register(registry)
        batches = BATCH_ROWS.register(registry)
        self._steps, self._frames = STEPS.register(registry), FRAMES.register(registry)
        self._updates, self._job_steps = UPDATES.register(registry), JOB_STEPS.register(registry)
        self._steps_per_second = STEPS_PER_SECOND.register(registry)
        self._policy_lag = POLICY_LAG.register(registry)
        self._phases = {phase: phases.labels(phase.value) for phase in LoopPhase}
        self._inference_rows, self._update_rows = batches.labels("inference"), batches.labels("update")
        self._inference_seconds = INFERENCE_SECONDS.register(registry)
        self._update_seconds = UPDATE_SECONDS.register(registry)
        self._push_seconds, self._store_learners = PUSH_SECONDS.register(registry), STORE_LEARNERS.register(registry)
        self._episodes = EPISODES.register(registry)
        self._return_mean, self._return = EPISODE_RETURN_MEAN.register(registry), EPISODE_RETURN.register(registry)
        self._length = EPISODE_LENGTH.register(registry)
        self._evaluation_return = EVALUATION_RETURN.register(registry)
        self._evaluation_steps = EVALUATION_STEPS.register(registry)
        for unknown in (self._return_mean, self._evaluation_return):
            unknown.set(math.nan)  # 0 would be a return, and one that later ones may be far below
        self._loss, self._learning_rate = LOSS.register(registry), LEARNING_RATE.register(registry)

    def _register_replay(self, registry: CollectorRegistry) -> None:
        ratios, priorities = REPLAY_RATIO.register(registry), REPLAY_PRIORITY.register(registry)
        self._replay_steps, self._replay_capacity = REPLAY_STEPS.register(registry), REPLAY_CAPACITY.register(registry)
        self._replay_age, self._epsilon = REPLAY_AGE.register(registry), EPSILON.register(registry)
        self._ratio_asked, self._ratio_reached = ratios.labels("asked"), ratios.labels("reached")
        self._priority_mean, self._priority_largest = priorities.labels("mean"), priorities.labels("largest")

    def _register_surroundings(self, registry: CollectorRegistry) -> None:
        slots = SLOTS.register(registry)
        self._slots_leased, self._slots_free = slots.labels("leased"), slots.labels("free")
        self._rows_ready = QUEUE_DEPTH.register(registry).labels(ROWS)
        self._rows_wait = QUEUE_WAIT_SECONDS.register(registry).labels(ROWS)
        self._streams, self._refused = STREAMS.register(registry), STREAMS_REFUSED.register(registry)
        self._simulators_waited = SIMULATORS_WAITED.register(registry)
        self._replayed = LEASE_REPLAYED.register(registry)
        self._rebuilt_differently = REBUILT_DIFFERENTLY.register(registry)
        self._checkpoint_age = CHECKPOINT_AGE.register(registry)
        self._checkpoint_time = CHECKPOINT_TIME.register(registry)
        self._checkpoint_failures = CHECKPOINT_FAILURES.register(registry)
        self._checkpoint_seconds = CHECKPOINT_SECONDS.register(registry)
        self._info = INFO.register(registry)
        self._mode, self._mode_rate = MODE.register(registry), MODE_STEPS_PER_SECOND.register(registry)

    def describe(self, *, job: str, algorithm: str, mode: str, device: str, precision: str) -> None:
        self._info.labels(job, algorithm, mode, device, precision).set(1)

    def runs_in(self, mode: Mode) -> None:
        """From now on."""
        self._ahead = mode is Mode.Async
        for each in (Mode.Sync, Mode.Async):
            self._mode.labels(each.value).set(each is mode)

    def decided(self, decision: Decision) -> None:
        """`Auto` was decided by these rates."""
        self._mode_rate.labels(Mode.Sync.value).set(decision.sync_steps_per_second)
        self._mode_rate.labels(Mode.Async.value).set(decision.async_steps_per_second)

    def served(self, *, steps: int, rows: int, inference_seconds: float) -> None:
        """One group was served: `rows` were inferred; `steps` of them led from an action, the rest began an episode."""
        if not self._ahead:
            self.totals.steps += steps * self._learners
        self._steps.inc(steps)
        self._frames.inc(steps * self._frame_skip)
        self._inference_rows.observe(rows)
        self._inference_seconds.observe(inference_seconds)
        self.spent(LoopPhase.INFERENCE, inference_seconds)

    def learned(self, *, steps: int, updates: int) -> None:
        """So many steps have been learned from since the job began, by so many updates, of all learners."""
        self.totals.steps, self.totals.updates = steps, updates

    def waited(self, seconds: float) -> None:
        """The loop waited for a group's rows."""
        self._rows_wait.inc(seconds)
        self.spent(LoopPhase.WAIT, seconds)

    def updated(
        self, *, rows: int, seconds: float, policy_lag: float | None, learning_rate: float, losses: Mapping[str, float]
    ) -> None:
        """One update was made from `rows` samples, on average `policy_lag` versions old; None: from a replay."""
        self.totals.updates += 1
        self._updates.inc()
        self._update_rows.observe(rows)
        self._update_seconds.observe(seconds)
        if policy_lag is not None:
            self._policy_lag.observe(policy_lag)
        self._learning_rate.set(learning_rate)
        for name, value in losses.items():
            self._loss.labels(name).set(value)
        self.spent(LoopPhase.OPTIMISE, seconds)

    def pushed(self, seconds: float) -> None:
        """A gradient went to the parameter store, and its parameters came back."""
        self._push_seconds.observe(seconds)

    def share_the_store(self, learners: int) -> None:
        """Any thread: so many do now, rank 0 included."""
        self._store_learners.set(learners)

    def sampled(self, *, age_steps: float, priority_mean: float, priority_largest: float) -> None:
        """An update's samples were on average that old, and have these priorities now."""
        self._replay_age.observe(age_steps)
        self._priority_mean.set(priority_mean)
        self._priority_largest.set(priority_largest)

    def replay_stands(self, stands: ReplayStands) -> None:
        """Once an iteration."""
        self.totals.replay = stands
        self._replay_steps.set(stands.steps)
        self._replay_capacity.set(stands.capacity_steps)
        self._ratio_asked.set(stands.ratio_asked)
        self._ratio_reached.set(stands.ratio_reached)
        self._epsilon.set(stands.epsilon)

    def spent(self, phase: LoopPhase, seconds: float) -> None:
        """Account this thread's time to a phase; `served`, `waited` and `updated` account for their own."""
        self._mine.seconds = self.accounted_seconds() + seconds
        with self._lock:
            self.totals.phase_seconds[phase] += seconds
        self._phases[phase].inc(seconds)
        if self._trace is not None and phase is not LoopPhase.OTHER:  # which is made of many moments
            self._trace.span(phase.value, seconds)

    @contextmanager
    def rest_is_other(self) -> Iterator[None]:
        """What this thread does within and accounts to no phase is OTHER."""
        started, accounted = time.perf_counter(), self.accounted_seconds()
        yield
        elapsed = time.perf_counter() - started
        self.spent(LoopPhase.OTHER, elapsed - (self.accounted_seconds() - accounted))

    def accounted_seconds(self) -> float:
        """Seconds of this thread accounted to phases so far."""
        return float(getattr(self._mine, "seconds", 0.0))

    def episodes_ended(self, returns: Iterable[float], lengths: Iterable[int]) -> None:
        """True returns, and lengths in steps, of the episodes that just ended."""
        for episode_return, length in zip(returns, lengths, strict=True):
            self._episodes.inc()
            self._return.observe(episode_return)
            self._length.observe(length)

    def evaluated(self, *, step: int, mean_return: float) -> None:
        self._evaluation_return.set(mean_return)
        self._evaluation_steps.set(step)

    def stands(self, *, steps_per_second: float, episode_return_mean: float | None) -> None:
        """Gauges of the status, once a second."""
        self._steps_per_second.set(steps_per_second)
        if episode_return_mean is not None:
            self._return_mean.set(episode_return_mean)

    def leases_stand(self, *, leased: int, free: int, streams: int) -> None:
        """Any thread: how the slots and streams stand."""
        self._slots_leased.set(leased)
        self._slots_free.set(free)
        self._streams.set(streams)

    def stream_refused(self, reason: str) -> None:
        """Any thread. `reason` is a gRPC status code's name, so that the label stays bounded."""
        self._refused.labels(reason).inc()

    def handshake_refused(self) -> None:
        """Any thread."""
        self._refused.labels("TLS_HANDSHAKE").inc()

    def replayed(self, steps: int) -> None:
        """Any thread: a lease asked a simulator to replay `steps`."""
        self._replayed.inc(steps)

    def rebuilt_differently(self, slots: int) -> None:
        """Any thread: replaying gave another observation than the slot holds."""
        self._rebuilt_differently.inc(slots)

    def simulators_waited(self, slot_seconds: float) -> None:
        """Streams' threads, under the slots' lock: slots were given actions after that long."""
        self.totals.slot_wait_seconds += slot_seconds
        self._simulators_waited.inc(slot_seconds)

    def simulator_stepped(self, simulator: str, group: int, seconds: float) -> None:
        """Streams' threads: what one turn of a simulator has just taken, by the learner's clock."""
        if self._trace is not None:
            self._trace.span("step", seconds, thread=f"{simulator}, group {group}")

    def watch_rows(self, ready: Callable[[], int]) -> None:
        """`ready` gives the rows that the loop can take; it is asked at each scrape, by the HTTP server's thread."""
        self._rows_ready.set_function(ready)

    def checkpoint_written(self, *, seconds: float) -> None:
        """Any thread: a whole checkpoint lies on disk since now, and took `seconds` to write."""
        self._checkpointed_at = self._unix_time()
        self._checkpoint_time.set(self._checkpointed_at)
        self._checkpoint_seconds.observe(seconds)

    def checkpoint_failed(self) -> None:
        """Any thread: a checkpoint could not be written; the newest whole one stays."""
        self._checkpoint_failures.inc()

    def checkpoint_found(self, *, time: float) -> None:
        """The job resumed from a checkpoint written at `time` (Unix seconds)."""
        self._checkpointed_at = time
        self._checkpoint_time.set(time)
