"""Who acts: the network that learns, or a copy of it that another thread may use while it learns.

    loop thread                                              sampling thread
    update the network
    publish: copy its parameters into a spare buffer  --->   newest: copy them into the acting network, if they are new
                                                             forward passes

Three buffers go round, so that nobody waits for a copy of the other's: one is being written, one holds the newest, one
is being read. The lock guards whose is which, and is never held while copying.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from stepstream_trainer.algorithms.flat import FlatParameters

PolicyT = TypeVar("PolicyT")


@dataclass(slots=True)
class _Buffer:
    values: torch.Tensor
    version: int
    copied: torch.cuda.Event | None
    """On an accelerator, when the last copy into or out of it is done."""


class Published:
    """The newest parameters on their way from the thread that changes them to the one that acts by them."""

    def __init__(self, flat: FlatParameters) -> None:
        cuda = flat.values.device.type == "cuda"
        self._writing, self._newest, self._reading = (
            _Buffer(flat.values.clone(), 0, _event() if cuda else None) for _ in range(3)
        )
        self._lock = threading.Lock()

    @torch.no_grad()
    def publish(self, flat: FlatParameters, version: int) -> None:
        """The learning thread: these are the newest parameters."""
        buffer = self._writing
        _copy(flat.values, buffer.values, buffer.copied)
        buffer.version = version
        with self._lock:
            self._writing, self._newest = self._newest, buffer

    @torch.no_grad()
    def fetch(self, flat: FlatParameters) -> int:
        """The acting thread: bring `flat` up to date. Gives the version."""
        with self._lock:
            if self._newest.version <= self._reading.version:  # what was read before it
                return self._reading.version
            self._newest, self._reading = self._reading, self._newest
        _copy(self._reading.values, flat.values, self._reading.copied)
        return self._reading.version


def _event() -> torch.cuda.Event:
    return torch.cuda.Event()  # type: ignore[no-untyped-call]


def _copy(source: torch.Tensor, target: torch.Tensor, copied: torch.cuda.Event | None) -> None:
    """After the copy that `copied` stands for; from now on it stands for this one."""
    if copied is not None:
        copied.wait()
    target.copy_(source)
    if copied is not None:
        copied.record()


@dataclass(frozen=True, kw_only=True, slots=True)
class Copy(Generic[PolicyT]):
    """A policy over a network of its own, whose parameters `flat` follow those of the network that learns."""

    policy: PolicyT
    flat: FlatParameters
    learning: FlatParameters


class Actor(Generic[PolicyT]):
    """Gives the policy to act by. `newest` is for the thread that collects, the others for the loop's."""

    def __init__(self, learning: PolicyT, copy: Copy[PolicyT] | None = None) -> None:
        """`learning` acts by the network that learns."""
        self.learning = learning
        self.apart = False
        """Whether the copy acts."""
        self._copy = copy
        self._published = None if copy is None else Published(copy.learning)
        self._version = 0

    def act_apart(self, apart: bool) -> None:
        """While nobody collects."""
        assert self._copy is not None or not apart
        self.apart = apart
        self.publish(self._version)

    def publish(self, version: int) -> None:
        """The network has learned: `version` updates are behind it."""
        self._version = version
        if self.apart and self._copy is not None and self._published is not None:
            self._published.publish(self._copy.learning, version)

    def newest(self) -> tuple[PolicyT, int]:
        """The policy, and the updates behind it."""
        if not self.apart or self._copy is None or self._published is None:
            return self.learning, self._version
        return self._copy.policy, self._published.fetch(self._copy.flat)
