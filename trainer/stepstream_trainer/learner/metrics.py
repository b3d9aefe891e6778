"""Every metric of a learner, and the facade through which the loop reports.

The loop calls `served` once a group and `updated` once an update; nothing here is called once a step. Counters count
since the process started (so that rates survive a resume); `Totals` counts since the job began.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from prometheus_client import CollectorRegistry

from stepstream_trainer.metrics import Catalogue

CATALOGUE = Catalogue(prefix="stepstream_learner_", title="Learner")

_ROWS = (1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0)
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_LAGS = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 32.0, 64.0)

STEPS = CATALOGUE.counter("steps_total", unit="steps", meaning="Agent steps received from simulators.")
FRAMES = CATALOGUE.counter(
    "frames_total", unit="frames", meaning="Emulator frames behind those steps: steps x frame skip."
)
UPDATES = CATALOGUE.counter("updates_total", unit="updates", meaning="Optimiser updates, one for each policy version.")
JOB_STEPS = CATALOGUE.gauge(
    "job_steps", unit="steps", meaning="Steps since the job began, over every attempt that counts towards totalSteps."
)
STEPS_PER_SECOND = CATALOGUE.gauge(
    "steps_per_second", unit="steps/s", meaning="Agent steps a second over the last half minute."
)
POLICY_LAG = CATALOGUE.histogram(
    "policy_lag_updates",
    unit="updates",
    meaning="Updates between the policy version that acted and the one that learned from it; one value an update.",
    buckets=_LAGS,
)
PHASE_SECONDS = CATALOGUE.counter(
    "phase_seconds_total",
    unit="seconds",
    labels=("phase",),
    meaning="Time of the loop by what it was spent on; the rates of all phases add up to 1.",
)
BATCH_ROWS = CATALOGUE.histogram(
    "batch_rows",
    unit="samples",
    labels=("kind",),
    meaning="Samples in one forward pass (kind=inference) and in one update (kind=update).",
    buckets=_ROWS,
)
INFERENCE_SECONDS = CATALOGUE.histogram(
    "inference_seconds", unit="seconds", meaning="One group's forward pass and sampling.", buckets=_SECONDS
)
UPDATE_SECONDS = CATALOGUE.histogram(
    "update_seconds", unit="seconds", meaning="One update: every epoch and minibatch of it.", buckets=_SECONDS
)
ROWS = "rows"
"""The queue between simulators' streams and the loop: bounded, because a slot holds one row."""
QUEUE_DEPTH = CATALOGUE.gauge(
    "queue_depth", unit="items", labels=("queue",), meaning="Items waiting; queue=rows: rows that the loop can take."
)
QUEUE_WAIT_SECONDS = CATALOGUE.counter(
    "queue_wait_seconds_total", unit="seconds", labels=("queue",), meaning="Time its reader lost waiting for items."
)
EPISODES = CATALOGUE.counter("episodes_total", unit="episodes", meaning="Finished episodes.")
EPISODE_RETURN_MEAN = CATALOGUE.gauge(
    "episode_return_mean",
    unit="score",
    meaning="Mean true (unclipped, whole-game) return of the last stopWhen.episodes episodes.",
)
EPISODE_RETURN = CATALOGUE.summary(
    "episode_return", unit="score", meaning="True (unclipped, whole-game) return of finished episodes."
)
EPISODE_LENGTH = CATALOGUE.summary("episode_length_steps", unit="steps", meaning="Length of finished episodes.")
EVALUATION_RETURN = CATALOGUE.gauge(
    "evaluation_return_mean", unit="score", meaning="Mean true return of the latest evaluation's greedy games."
)
EVALUATION_STEPS = CATALOGUE.gauge(
    "evaluation_job_steps", unit="steps", meaning="Steps since the job began of the checkpoint that was evaluated."
)
SLOTS = CATALOGUE.gauge(
    "slots", unit="slots", labels=("state",), meaning="Environment slots with a simulator (leased) and without (free)."
)
STREAMS = CATALOGUE.gauge("streams", unit="streams", meaning="Open simulator streams, spare ones included.")
STREAMS_REFUSED = CATALOGUE.counter(
    "streams_refused_total", unit="streams", labels=("reason",), meaning="Simulator streams refused, by gRPC status."
)
SIMULATORS_WAITED = CATALOGUE.counter(
    "slot_wait_seconds_total",
    unit="slot x seconds",
    meaning="Time that slots stood still because their simulator waited for actions; divided by the leased slots and "
    "the time, the fraction that simulators wait.",
)
LEASE_REPLAYED = CATALOGUE.counter(
    "lease_replayed_steps_total",
    unit="steps",
    meaning="Steps given to simulators to replay, to rebuild slots of a lost simulator or of a resumed job.",
)
REBUILT_DIFFERENTLY = CATALOGUE.counter(
    "slots_rebuilt_differently_total",
    unit="slots",
    meaning="Slots whose replayed episode was not the one they hold: the environment is not deterministic.",
)
CHECKPOINT_AGE = CATALOGUE.gauge(
    "checkpoint_age_seconds",
    unit="seconds",
    meaning="Age of the newest whole checkpoint, so what a crash would lose; NaN before the first.",
)
CHECKPOINT_TIME = CATALOGUE.gauge(
    "checkpoint_last_success_timestamp_seconds", unit="Unix time", meaning="When the newest checkpoint was written."
)
CHECKPOINT_FAILURES = CATALOGUE.counter(
    "checkpoint_failures_total", unit="checkpoints", meaning="Checkpoints that could not be written; training went on."
)
CHECKPOINT_SECONDS = CATALOGUE.histogram(
    "checkpoint_seconds", unit="seconds", meaning="Time to write one checkpoint.", buckets=_SECONDS
)
LOSS = CATALOGUE.gauge(
    "loss", unit="1", labels=("name",), meaning="The latest update's figures: policy, value, entropy, and so on."
)
LEARNING_RATE = CATALOGUE.gauge("learning_rate", unit="1", meaning="Learning rate of the latest update.")
INFO = CATALOGUE.gauge(
    "info",
    unit="1",
    labels=("job", "algorithm", "mode", "device", "precision"),
    meaning="Always 1; the labels say what runs here.",
)


class LoopPhase(StrEnum):
    """What the loop's time is spent on. Every moment of the loop belongs to exactly one."""

    WAIT = "wait"
    INFERENCE = "inference"
    OPTIMISE = "optimise"
    CHECKPOINT = "checkpoint"
    OTHER = "other"


@dataclass(slots=True)
class Totals:
    """Counts since the job began (restored at a resume) and seconds of the loop since the process started."""

    steps: int = 0
    updates: int = 0
    episodes: int = 0
    phase_seconds: dict[LoopPhase, float] = field(default_factory=lambda: dict.fromkeys(LoopPhase, 0.0))
    slot_wait_seconds: float = 0.0


class LearnerMetrics:
    """What the loop calls. Methods are for the loop's thread unless they say "any thread"."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        frame_skip: int,
        totals: Totals | None = None,
        unix_time: Callable[[], float] = time.time,
    ) -> None:
        self.totals = totals if totals is not None else Totals()
        self._frame_skip = frame_skip
        self._unix_time = unix_time
        self._checkpointed_at = math.nan
        self._register_progress(registry)
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
        self._episodes = EPISODES.register(registry)
        self._return_mean, self._return = EPISODE_RETURN_MEAN.register(registry), EPISODE_RETURN.register(registry)
        self._length = EPISODE_LENGTH.register(registry)
        self._evaluation_return = EVALUATION_RETURN.register(registry)
        self._evaluation_steps = EVALUATION_STEPS.register(registry)
        self._loss, self._learning_rate = LOSS.register(registry), LEARNING_RATE.register(registry)

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

    def describe(self, *, job: str, algorithm: str, mode: str, device: str, precision: str) -> None:
        self._info.labels(job, algorithm, mode, device, precision).set(1)

    def served(self, *, steps: int, rows: int, inference_seconds: float) -> None:
        """One group was served: `rows` were inferred; `steps` of them led from an action, the rest began an episode."""
        self.totals.steps += steps
        self._steps.inc(steps)
        self._frames.inc(steps * self._frame_skip)
        self._inference_rows.observe(rows)
        self._inference_seconds.observe(inference_seconds)
        self.spent(LoopPhase.INFERENCE, inference_seconds)

    def waited(self, seconds: float) -> None:
        """The loop waited for a group's rows."""
        self._rows_wait.inc(seconds)
        self.spent(LoopPhase.WAIT, seconds)

    def updated(
        self, *, rows: int, seconds: float, policy_lag: float, learning_rate: float, losses: Mapping[str, float]
    ) -> None:
        """One update was made from `rows` samples, on average `policy_lag` versions old."""
        self.totals.updates += 1
        self._updates.inc()
        self._update_rows.observe(rows)
        self._update_seconds.observe(seconds)
        self._policy_lag.observe(policy_lag)
        self._learning_rate.set(learning_rate)
        for name, value in losses.items():
            self._loss.labels(name).set(value)
        self.spent(LoopPhase.OPTIMISE, seconds)

    def spent(self, phase: LoopPhase, seconds: float) -> None:
        """Account the loop's time to a phase; `served`, `waited` and `updated` account for their own."""
        self.totals.phase_seconds[phase] += seconds
        self._phases[phase].inc(seconds)

    def accounted_seconds(self) -> float:
        """Seconds of the loop accounted to phases so far; what an iteration took beyond them is OTHER."""
        return sum(self.totals.phase_seconds.values())

    def episodes_ended(self, returns: Iterable[float], lengths: Iterable[int]) -> None:
        """True returns, and lengths in steps, of the episodes that just ended."""
        for episode_return, length in zip(returns, lengths, strict=True):
            self.totals.episodes += 1
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
