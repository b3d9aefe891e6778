"""The learner's loop, and who waits for whom.

    gRPC threads (one a stream)        loop thread (this file)                       HTTP thread
    ---------------------------        -------------------------------------         -----------
    rows arrive -> copied into   --->  collect: wait for a group's slots
    the slots of a group               one forward pass, sample, record
    wait for the actions         <---  post the actions      (some steps, group by group)
    send them                          learn: from the rollout, or from samples of the replay
                                       checkpoint and evaluate (a process beside), if it is time
                                       report: status, metrics, history     ------->  /status, /metrics

In `Sync` mode one thread does all of the loop: while it optimises, the simulators wait for actions of the new policy.
Slots pass between the threads: those awaited belong to their stream, those ready to the loop; nobody holds a lock while
copying. The loop waits for nothing but slots; a simulator waits for nothing but its actions.

What is gathered and how it is learned from is the algorithm's: `experience.py`. The state between two iterations is the
only state that is ever saved. Until all slots have made an iteration's steps nothing of it has changed, so an iteration
cut short is simply made again after a resume, with the same rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from stepstream_trainer.algorithms.networks import FlatNetwork
from stepstream_trainer.learner.checkpoint import CheckpointStore, Manifest, State, as_arrays, parameter_digest
from stepstream_trainer.learner.episodes import EpisodeTracker
from stepstream_trainer.learner.evaluations import Evaluations
from stepstream_trainer.learner.experience import Experience, Position
from stepstream_trainer.learner.gathering import Interrupted
from stepstream_trainer.learner.metrics import LearnerMetrics, LoopPhase
from stepstream_trainer.learner.reporting import Reporter
from stepstream_trainer.learner.slots import Slots
from stepstream_trainer.learner.targets import Targets
from stepstream_trainer.logs import get_log

_log = get_log("loop")

POLL_SECONDS = 0.1
SAVE_AGAIN_SECONDS = 10.0
"""Between attempts at the last checkpoint, while somebody makes room for it."""


class Outcome(Enum):
    """Why the loop came back."""

    FINISHED = auto()
    INTERRUPTED = auto()


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What the loop drives; `assembly.py` builds it."""

    slots: Slots
    experience: Experience
    network: FlatNetwork
    episodes: EpisodeTracker
    targets: Targets
    metrics: LearnerMetrics
    reporter: Reporter
    checkpoints: CheckpointStore
    evaluations: Evaluations


class LearnerLoop:
    """Runs a job of one learner in `Sync` mode from where it stands to its end."""

    def __init__(self, parts: Parts, *, attempt: int, identity: str, checkpoint_interval_seconds: float) -> None:
        """`identity` is the digest of the job's fields that no resume may change."""
        self._parts = parts
        self._attempt = attempt
        self._identity = identity
        self._interval_seconds = checkpoint_interval_seconds
        self._position = Position()
        self._saved_at = time.monotonic()
        self._saved_steps = 0

    def run(self) -> Outcome:
        """Iterate until the targets are met or the learner is asked to stop; either way the newest state is saved."""
        boundary: State = {}
        try:
            if self._position.slot_steps == 0:
                self._parts.experience.begin()
            boundary = self._state()
            while not self._parts.targets.met(self._position.steps, self._parts.episodes.recent):
                boundary = self._iterate()
            self._save_the_last(boundary)
            self._pause_until(self._parts.evaluations.ended)
        except Interrupted:
            self._save(boundary)
            return Outcome.INTERRUPTED
        return Outcome.FINISHED

    def digest(self) -> str:
        """SHA-256 of the network's parameters."""
        return parameter_digest(self._parts.network)

    def _keep(self, boundary: State) -> None:
        """Save what is due to be saved, and let it be evaluated when that is due."""
        evaluations, steps = self._parts.evaluations, self._position.steps
        evaluations.poll()
        evaluate = evaluations.due(steps)
        if evaluate or time.monotonic() - self._saved_at >= self._interval_seconds:
            self._save(boundary)
        if evaluate:
            evaluations.begin(steps, self._parts.checkpoints.manifest_path(steps))

    def _pause_until(self, holds: Callable[[], bool]) -> None:
        """May raise Interrupted."""
        while not holds():
            self._parts.reporter.pause()
            time.sleep(POLL_SECONDS)

    def _iterate(self) -> State:
        """Some steps of every slot, the updates that are due after them, and what there is to keep of that."""
        parts, position = self._parts, self._position
        started, accounted = time.perf_counter(), parts.metrics.accounted_seconds()
        parts.experience.collect(position)
        position.slot_steps += parts.experience.slot_steps
        position.steps += parts.experience.slot_steps * parts.slots.num_slots
        self._learn()
        boundary = self._state()
        self._keep(boundary)
        elapsed = time.perf_counter() - started
        parts.metrics.spent(LoopPhase.OTHER, elapsed - (parts.metrics.accounted_seconds() - accounted))
        parts.reporter.tick()
        return boundary

    def _learn(self) -> None:
        parts, position = self._parts, self._position
        progress = parts.targets.progress(position.steps)
        started = time.perf_counter()
        for learned in parts.experience.learn(position, progress):
            position.updates += 1
            seconds, started = time.perf_counter() - started, time.perf_counter()
            parts.reporter.updated(learned, seconds=seconds)

    def _state(self) -> State:
        """What a checkpoint of this moment holds; true until the next update changes the network in place."""
        parts, position = self._parts, self._position
        gathered = parts.experience.state_dict()
        progress = {"slots": parts.slots.state_dict(), "episodes": parts.episodes.state_dict()}
        return {
            **gathered,
            "network": parts.network.state_dict(),
            "steps": position.steps,
            "updates": position.updates,
            "slot_steps": position.slot_steps,
            "progress": gathered["progress"] | progress,
        }

    def resume(self, manifest: Manifest, state: State) -> None:
        """Stand where the checkpoint was written."""
        parts, progress = self._parts, as_arrays(state["progress"])
        parts.network.load_state_dict(state["network"])
        parts.slots.load_state_dict(progress["slots"])
        parts.episodes.load_state_dict(progress["episodes"])
        parts.experience.load_state_dict(state | {"progress": progress})
        self._position = Position(steps=state["steps"], updates=state["updates"], slot_steps=state["slot_steps"])
        self._saved_steps = manifest.step
        parts.evaluations.resumed(state["steps"])
        totals = parts.metrics.totals
        totals.steps, totals.updates, totals.episodes = manifest.step, manifest.updates, parts.episodes.finished
        parts.reporter.resumed(manifest, parts.checkpoints.manifest_path(manifest.step))
        _log.info("resumed", steps=manifest.step, updates=manifest.updates, attempt=self._attempt)

    def _save_the_last(self, state: State) -> None:
        """What the job was for: without it there is no end. May raise Interrupted."""
        while not self._save(state, otherwise=f"it is the last, and is tried again every {SAVE_AGAIN_SECONDS:.0f} s"):
            self._pause_until(lambda: time.monotonic() - self._saved_at >= SAVE_AGAIN_SECONDS)

    def _save(self, state: State, *, otherwise: str = "the one before it stays") -> bool:
        """Write `state`, unless the newest checkpoint holds it. A full disk costs this checkpoint, not the run."""
        self._saved_at = time.monotonic()
        if not state or state["steps"] == self._saved_steps:
            return True
        try:
            manifest = self._write(state)
        except OSError as error:
            self._parts.reporter.checkpoint_failed(error, otherwise)
            return False
        finally:
            seconds = time.monotonic() - self._saved_at
            self._parts.metrics.spent(LoopPhase.CHECKPOINT, seconds)
        self._saved_steps = manifest.step
        path = self._parts.checkpoints.manifest_path(manifest.step)
        self._parts.reporter.checkpoint_written(manifest, path, seconds)
        return True

    def _write(self, state: State) -> Manifest:
        """Raises OSError when the disk refuses."""
        kept = self._parts.experience.keep()
        return self._parts.checkpoints.save(
            state | kept.state,
            step=state["steps"],
            updates=state["updates"],
            attempt=self._attempt,
            job_digest=self._identity,
            beside=kept.files,
        )
