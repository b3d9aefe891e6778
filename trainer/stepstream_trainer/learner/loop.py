"""The learner's loop, and who waits for whom.

    gRPC threads (one a stream)      who collects: the loop, or the sampler       loop thread (this file)
    ---------------------------      --------------------------------------       -----------------------
    rows arrive -> copied into  -->  wait for a group's slots
    the slots of a group             one forward pass, sample, record
    wait for the actions        <--  post the actions  (some steps, by groups)
    send them                        all steps are made: hand them over      -->  learn: from the rollout, or from
                                                                                  samples of the replay
                                     act by the new parameters               <--  publish them
                                                                                  checkpoint and evaluate (a process
                                                                                  beside), if it is time
                                                                                  report, for /status and /metrics

In `Sync` mode the loop's thread collects, too: while it optimises, simulators wait for actions of the new policy. In
`Async` mode a sampling thread collects the next steps meanwhile, by the policy at hand (`sampling.py`). Slots pass
between the threads: those awaited belong to their stream, those ready to who collects; nobody holds a lock while
copying or computing. Who collects waits for slots, and ahead of the loop for memory; the loop waits for steps; a
simulator waits for its actions.

What is gathered and how it is learned from is the algorithm's: `experience.py`. The state between two iterations is the
only state that is ever saved. Until all slots have made an iteration's steps nothing of it has changed, so an iteration
cut short is simply made again after a resume, with the same rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from stepstream_trainer.algorithms.networks import FlatNetwork
from stepstream_trainer.config import Mode
from stepstream_trainer.learner.checkpoint import CheckpointStore, Manifest, State, as_arrays, parameter_digest
from stepstream_trainer.learner.episodes import EpisodeTracker
from stepstream_trainer.learner.evaluations import Evaluations
from stepstream_trainer.learner.experience import Experience, Gathered, Position
from stepstream_trainer.learner.gathering import Interrupted
from stepstream_trainer.learner.metrics import LearnerMetrics, LoopPhase
from stepstream_trainer.learner.modes import Modes
from stepstream_trainer.learner.ranks import News, Order, Ranks
from stepstream_trainer.learner.reporting import Reporter
from stepstream_trainer.learner.sampling import Ahead, Direct, Sampling, Steps
from stepstream_trainer.learner.targets import Targets
from stepstream_trainer.logs import get_log

_log = get_log("loop")

POLL_SECONDS = 0.1
OTHERS = "others"
"""Key of what the slots of ranks 1, 2, ... do, in a checkpoint's state."""
SAVE_AGAIN_SECONDS = 10.0
"""Between attempts at the last checkpoint, while somebody makes room for it."""


class Outcome(Enum):
    """Why the loop came back."""

    FINISHED = auto()
    INTERRUPTED = auto()


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """What the loop drives; `assembly.py` builds it."""

    experience: Experience[Any]
    network: FlatNetwork
    episodes: EpisodeTracker
    targets: Targets
    metrics: LearnerMetrics
    reporter: Reporter
    checkpoints: CheckpointStore
    evaluations: Evaluations
    modes: Modes
    ranks: Ranks


def state_of_rank(state: State, rank: int) -> State:
    """What a learner goes on from, of a checkpoint's state. Without `progress` its slots begin new episodes."""
    own = {name: value for name, value in state.items() if name not in (OTHERS, "progress")}
    known = [state["progress"], *state[OTHERS]]
    return own | {"progress": known[rank]} if rank < len(known) else own


class LearnerLoop:
    """Runs a learner's part of its job from where that stands to its end."""

    def __init__(
        self,
        parts: Parts,
        *,
        num_slots: int,
        learners: int,
        attempt: int,
        identity: str,
        checkpoint_interval_seconds: float,
    ) -> None:
        """`num_slots` are this learner's, of as many as there are `learners`; `identity` is the digest of the job's
        fields that no resume may change.
        """
        self._parts = parts
        self._steps = parts.experience.slot_steps * num_slots
        """Of this learner in one iteration."""
        self._learners = learners
        self._attempt = attempt
        self._identity = identity
        self._interval_seconds = checkpoint_interval_seconds
        self._position = Position()
        self._slots_stand = False
        """Whether slots go on from a checkpoint."""
        self._saved_at = time.monotonic()
        self._saved_steps = 0
        self._evaluate = False
        """Whether what is saved now is to be evaluated."""
        self._total_steps = parts.targets.total_steps
        """By which progress is counted."""
        self._boundary: State = {}
        """What is to be saved of the moment after the last iteration."""

    def run(self) -> Outcome:
        """Iterate until the targets are met or the learner is asked to stop; either way the newest state is saved."""
        try:
            self._parts.ranks.begin_alike(self._position, self.digest)
            self._begin()
            self._train()
            self._save_the_last()
            self._pause_until(self._parts.evaluations.ended)
            self._parts.ranks.end(self._pause_until)
        except Interrupted:
            self._save()
            return Outcome.FINISHED if self._parts.ranks.over else Outcome.INTERRUPTED
        return Outcome.FINISHED

    def digest(self) -> str:
        """SHA-256 of the network's parameters."""
        return parameter_digest(self._parts.network)

    def _begin(self) -> None:
        """Wait for the first rows of a fresh job. May raise Interrupted, and then on all learners."""
        if self._slots_stand:
            return
        with self._in_step():
            self._parts.experience.begin(self._parts.reporter.pause)

    def _train(self) -> None:
        """Until the targets are met. May raise Interrupted."""
        order = self._agree()
        while not order.done:
            sampling = self._sample(order)
            try:
                order = self._iterate_in(order.mode, sampling, order)
            finally:
                sampling.close()

    def _iterate_in(self, mode: Mode, sampling: Sampling, order: Order) -> Order:
        """Until the job is done, or is to go on in another mode, as the newest order says."""
        while not sampling.over:
            before, order = order, self._iterate(mode, self._collected(sampling))
            sampling.learned()
            if order.done:
                break
            if order.mode is not mode:
                sampling.finish()  # what is collected already is learned from first
            if order.calibrating is not before.calibrating:
                self._parts.reporter.runs_in(mode, calibrating=order.calibrating)
        return order

    def _collected(self, sampling: Sampling) -> Gathered[Any]:
        """The next steps, when every learner has its own. May raise Interrupted, and then on all of them."""
        with self._in_step():
            return sampling.next()

    @contextmanager
    def _in_step(self) -> Iterator[None]:
        """Where one learner is interrupted within, all are at its end."""
        ranks = self._parts.ranks
        try:
            yield
        except Interrupted:
            ranks.collected(stop=True)
            raise
        started = time.perf_counter()
        ranks.collected(stop=False)
        self._parts.metrics.spent(LoopPhase.LEARNERS, time.perf_counter() - started)

    def _agree(self) -> Order:
        """What to do now; rank 0 says it, and hears of the others' episodes."""
        parts = self._parts
        parts.targets.follow()
        returns, lengths = parts.episodes.take_news()
        order = parts.ranks.agree(self._decide, News(returns=returns, lengths=lengths))
        self._total_steps = order.total_steps or parts.targets.total_steps
        return order

    def _decide(self, news: Sequence[News]) -> Order:
        parts, steps = self._parts, self._position.steps
        for each in news:
            parts.episodes.add_others(each.returns, each.lengths)
        parts.evaluations.poll()
        self._evaluate = parts.evaluations.due(steps)
        done = parts.targets.met(steps, parts.episodes.recent)
        due = time.monotonic() - self._saved_at >= self._interval_seconds
        save = self._evaluate or due
        return Order(
            done=done,
            save=save,
            mode=parts.modes.mode,
            calibrating=parts.modes.calibrating,
            total_steps=parts.targets.total_steps,
        )

    def _sample(self, order: Order) -> Sampling:
        """Begin to collect from where the loop stands."""
        parts, mode = self._parts, order.mode
        parts.reporter.runs_in(mode, calibrating=order.calibrating)
        parts.experience.act_apart(mode is Mode.Async)
        parts.experience.publish(self._position.updates)
        steps = Steps(
            parts.experience,
            parts.metrics,
            self._position,
            steps_of_all=self._steps * self._learners,
            apart=parts.ranks.apart,
        )
        if mode is Mode.Async:
            return Ahead(steps, parts.metrics, pause=parts.reporter.pause, stopping=parts.reporter.stopping)
        return Direct(steps, parts.reporter.pause)

    def _follow(self, order: Order) -> None:
        """Save what is to be saved, and let it be evaluated when that is due."""
        steps = self._position.steps
        if order.save:
            self._save()
        if self._evaluate:
            self._parts.evaluations.begin(steps, self._parts.checkpoints.manifest_path(steps))
            self._evaluate = False

    def _pause_until(self, holds: Callable[[], bool]) -> None:
        """May raise Interrupted."""
        while not holds():
            self._parts.reporter.pause()
            time.sleep(POLL_SECONDS)

    def _iterate(self, mode: Mode, gathered: Gathered[Any]) -> Order:
        """The updates that are due after these steps, and what there is to keep of that."""
        parts, position = self._parts, self._position
        with parts.metrics.rest_is_other():
            position.slot_steps += parts.experience.slot_steps
            parts.ranks.made(position, steps=self._steps)
            self._learn(gathered)
            self._boundary = self._state(gathered)
            order = self._agree()
            self._follow(order)
        parts.reporter.tick()
        parts.modes.iterated(lambda: parts.reporter.iteration(mode, self._steps * self._learners))
        return order

    def _learn(self, gathered: Gathered[Any]) -> None:
        parts, position = self._parts, self._position
        progress = min(1.0, position.steps / self._total_steps)
        updates, started = 0, time.perf_counter()
        for learned in parts.experience.learn(gathered, position, progress):
            updates += 1
            seconds, started = time.perf_counter() - started, time.perf_counter()
            parts.reporter.updated(learned, seconds=seconds)
        parts.ranks.updated(position, updates=updates)
        parts.experience.publish(position.updates)
        parts.metrics.learned(steps=position.steps, updates=position.updates)

    def _state(self, gathered: Gathered[Any]) -> State:
        """Where this moment's checkpoint goes on; what was learned by then stands in place until the next update."""
        parts, position = self._parts, self._position
        return {
            "progress": parts.experience.progress(gathered),
            "steps": position.steps,
            "updates": position.updates,
            "slot_steps": position.slot_steps,
        }

    def resume(self, state: State) -> None:
        """Stand where the checkpoint was written that holds this learner's `state`."""
        parts = self._parts
        parts.network.load_state_dict(state["network"])
        self._slots_stand = "progress" in state
        stands = {"progress": as_arrays(state["progress"])} if self._slots_stand else {}
        parts.experience.load_state_dict(state | stands)
        self._position = Position(steps=state["steps"], updates=state["updates"], slot_steps=state["slot_steps"])
        self._saved_steps = state["steps"]
        parts.evaluations.resumed(state["steps"])
        parts.metrics.totals.steps, parts.metrics.totals.updates = state["steps"], state["updates"]
        _log.info("resumed", steps=state["steps"], updates=state["updates"], attempt=self._attempt)

    def _save_the_last(self) -> None:
        """What the job was for: without it there is no end. May raise Interrupted."""
        while not self._save(otherwise=f"it is the last, and is tried again every {SAVE_AGAIN_SECONDS:.0f} s"):
            self._pause_until(lambda: time.monotonic() - self._saved_at >= SAVE_AGAIN_SECONDS)

    def _save(self, *, otherwise: str = "the one before it stays") -> bool:
        """Write the last boundary, unless the newest checkpoint holds it. A full disk costs this checkpoint alone.

        Rank 0 writes what all learners' slots do.
        """
        self._saved_at = time.monotonic()
        state, ranks = self._boundary, self._parts.ranks
        if not state or state["steps"] == self._saved_steps:
            return True
        if OTHERS not in state:
            state[OTHERS] = [each["progress"] for each in ranks.gather({"progress": state["progress"]})[1:]]
        if ranks.rank > 0:
            self._saved_steps = state["steps"]
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
        experience = self._parts.experience
        kept, learned = experience.keep(), experience.learned_state()  # first: it brings the network to its moment
        return self._parts.checkpoints.save(
            state | kept.state | learned | {"network": self._parts.network.state_dict()},
            step=state["steps"],
            updates=state["updates"],
            attempt=self._attempt,
            job_digest=self._identity,
            beside=kept.files,
        )
