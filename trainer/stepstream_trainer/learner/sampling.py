"""Where the loop's steps come from: collected when it asks for them, or ahead of it in a thread of their own.

    Direct (Sync)      loop:      collect 1 | learn 1 | collect 2 | learn 2 | ...
    Ahead (Async)      sampler:   collect 1 | collect 2 | collect 3 | ...
                       loop:                | learn 1   | learn 2   | ...

Ahead, the sampler waits only for memory that the loop still learns from, and the loop only for steps: with two memories
an iteration's steps were chosen by a policy that lacks the updates of one iteration at most. Nothing is shared while it
is written: memory passes from one to the other and back, parameters by `acting.py`.

Learners in step finish alike: which iteration is the last follows from when they were told, and from no thread's pace.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from stepstream_trainer.learner.experience import Experience, Gathered, Position
from stepstream_trainer.learner.gathering import Interrupted, Pause
from stepstream_trainer.learner.metrics import LearnerMetrics, LoopPhase

POLL_SECONDS = 0.2
"""How soon one who waits notices that the learner is to stop."""

SAMPLER = "sampler"
"""Name of the sampling thread."""


class Sampling(Protocol):
    """Loop thread only."""

    @property
    def over(self) -> bool:
        """Whether `next` has given everything: some time after `finish`."""

    def next(self) -> Gathered[Any]:
        """The next iteration's steps. May raise Interrupted."""

    def learned(self) -> None:
        """What `next` gave last is not needed any more."""

    def finish(self) -> None:
        """Collect no more than may have been begun."""

    def close(self) -> None:
        """Break off; nobody collects any more when this returns."""


class Steps:
    """Collects one iteration after the other. One thread at a time."""

    def __init__(
        self,
        experience: Experience[Any],
        metrics: LearnerMetrics,
        position: Position,
        *,
        steps_of_all: int,
        apart: bool = False,
    ) -> None:
        """The first iteration begins at `position`; an iteration makes `steps_of_all` steps, of all the job's slots.

        Where learners step `apart` nobody knows how many the others make meanwhile: what stands in `position` counts.
        """
        self.memories = experience.memories
        self._experience = experience
        self._metrics = metrics
        self._followed = position if apart else None
        self._position = replace(position)
        self._steps_of_all = steps_of_all

    def collect(self, pause: Pause) -> Gathered[Any]:
        """May raise what `pause` does."""
        if self._followed is not None:
            self._position.steps = self._followed.steps
        with self._metrics.rest_is_other():
            gathered = self._experience.collect(self._position, pause)
        self._position.slot_steps += self._experience.slot_steps
        self._position.steps += self._steps_of_all
        return gathered


class Direct:
    """Collects when it is asked."""

    def __init__(self, steps: Steps, pause: Pause) -> None:
        self._steps = steps
        self._pause = pause
        self.over = False

    def next(self) -> Gathered[Any]:
        return self._steps.collect(self._pause)

    def learned(self) -> None:
        pass

    def finish(self) -> None:
        self.over = True

    def close(self) -> None:
        pass


class Ahead:
    """Collects in a thread of its own, as far ahead as there is memory."""

    def __init__(self, steps: Steps, metrics: LearnerMetrics, *, pause: Pause, stopping: Callable[[], bool]) -> None:
        """`pause` is called while the loop waits for steps; `stopping` is asked by the sampler. Begins at once."""
        self._steps = steps
        self._metrics = metrics
        self._pause = pause
        self._stopping = stopping
        self._free = threading.Semaphore(steps.memories)
        self._gathered: queue.SimpleQueue[Gathered[Any] | Exception] = queue.SimpleQueue()
        self._begun = self._given = 0
        """Iterations: by the sampler, and to the loop."""
        self._last: int | None = None
        """So many are made in all."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name=SAMPLER, daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        return self._given == self._last

    def next(self) -> Gathered[Any]:
        started = time.perf_counter()
        while True:
            try:
                found = self._gathered.get(timeout=POLL_SECONDS)
                break
            except queue.Empty:
                self._pause()
        self._metrics.spent(LoopPhase.IDLE, time.perf_counter() - started)
        if isinstance(found, Exception):
            raise found
        self._given += 1
        return found

    def learned(self) -> None:
        self._free.release()

    def finish(self) -> None:
        """There is memory for so many beside those that were learned from: the sampler has begun them, or will."""
        if self._last is None:
            self._last = self._given + self._steps.memories

    def close(self) -> None:
        self._closing.set()
        self._thread.join()

    def _work(self) -> None:
        """The sampler's life. What it raises is raised where the loop waits for steps."""
        try:
            while self._begun != self._last:
                self._await_memory()
                if self._begun == self._last:  # it was told meanwhile
                    return
                self._begun += 1
                self._gathered.put(self._steps.collect(self._go_on))
        except Exception as error:  # noqa: BLE001 - a thread ends here
            self._gathered.put(error)

    def _await_memory(self) -> None:
        started = time.perf_counter()
        while not self._free.acquire(timeout=POLL_SECONDS):
            self._go_on()
        self._metrics.spent(LoopPhase.HOLD, time.perf_counter() - started)

    def _go_on(self) -> None:
        if self._closing.is_set() or self._stopping():
            raise Interrupted
