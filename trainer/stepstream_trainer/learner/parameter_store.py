"""The parameters that the learners of a job in mode Async share, and their optimiser's state, in this process's memory.

They are cut into chunks with a lock each, so that several learners can push at once: a push takes the chunks in
whatever order their locks come free, steps each by the update rule, and takes the new values along: every push is a
pull (Stooke & Abbeel 2018). Between chunks others may step: what a learner gets is of no single moment, but each chunk
is whole.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

import torch

from stepstream_trainer.algorithms.descent import Optimiser, Rule
from stepstream_trainer.algorithms.flat import ALIGNMENT
from stepstream_trainer.algorithms.threads import limited_threads

CHUNKS: Final = 3
"""As in the paper's code."""


@dataclass(slots=True)
class _Part:
    """One chunk, as its optimiser sees it."""

    values: torch.Tensor
    gradients: torch.Tensor

    def changed(self) -> None:
        """Nobody asks for the version of a chunk."""


@dataclass(slots=True)
class _Chunk:
    part: _Part
    optimiser: Optimiser
    where: slice
    lock: threading.Lock = field(default_factory=threading.Lock)


class ParameterStore:
    """On the CPU, whatever device learners compute on. Any thread."""

    def __init__(self, values: torch.Tensor, rule: Rule, *, chunks: int = CHUNKS) -> None:
        """Begins with a copy of `values`, float32 [P]."""
        self.num_parameters = len(values)
        size = -(-len(values) // (chunks * ALIGNMENT)) * ALIGNMENT
        self._chunks = []
        for start in range(0, len(values), size):
            where = slice(start, min(start + size, len(values)))
            part = _Part(values[where].to("cpu", copy=True), torch.zeros(where.stop - where.start))
            self._chunks.append(_Chunk(part, rule(part), where))

    @torch.no_grad()
    def push(self, gradients: torch.Tensor, learning_rate: float, values: torch.Tensor) -> None:
        """Step by `gradients` [P]; write the parameters that follow to `values` [P], which may be the same memory.

        In this thread alone, with one of its cores: other learners' threads compute meanwhile.
        """
        with limited_threads(1):
            left = deque(self._chunks)
            while left:
                chunk = _first_free(left)
                try:
                    chunk.part.gradients.copy_(gradients[chunk.where])
                    chunk.optimiser.step(learning_rate)
                    values[chunk.where].copy_(chunk.part.values)
                finally:
                    chunk.lock.release()

    @torch.no_grad()
    def pull(self, values: torch.Tensor) -> None:
        """Write the parameters to `values` [P]."""
        for chunk in self._chunks:
            with chunk.lock:
                values[chunk.where].copy_(chunk.part.values)

    @torch.no_grad()
    def state_dict(self, values: torch.Tensor) -> dict[str, Any]:
        """A copy of the whole optimiser's state; the parameters of the same moment, chunk by chunk, go to `values`."""
        states = []
        for chunk in self._chunks:
            with chunk.lock:
                values[chunk.where].copy_(chunk.part.values)
                states.append({name: value.clone() for name, value in chunk.optimiser.state_dict().items()})
        return {name: _joined([state[name] for state in states]) for name in states[0]}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any], values: torch.Tensor) -> None:
        """Stand where `state` and `values` were taken."""
        for chunk in self._chunks:
            with chunk.lock:
                chunk.part.values.copy_(values[chunk.where])
                chunk.optimiser.load_state_dict({name: _cut(value, chunk.where) for name, value in state.items()})


def _first_free(left: deque[_Chunk]) -> _Chunk:
    """Take a chunk whose lock is free out of `left`, or wait for the next one's. Gives it locked."""
    for _ in range(len(left)):
        chunk = left.popleft()
        if chunk.lock.acquire(blocking=False):
            return chunk
        left.append(chunk)
    chunk = left.popleft()
    chunk.lock.acquire()
    return chunk


def _joined(parts: list[torch.Tensor]) -> torch.Tensor:
    """What there is one of for each parameter, of all chunks; of a count, which each has for itself, the first."""
    return torch.cat(parts) if parts[0].ndim else parts[0]


def _cut(value: torch.Tensor, where: slice) -> torch.Tensor:
    return value[where] if value.ndim else value
