"""Shared memory between two learners on one host: a gradient on its way to the store, and parameters on their way back.

The learner makes a file in the host's shared memory and names it; the store opens it, and then the name goes: whatever
happens to either, nothing is left behind. Between containers that share no memory the store finds no such file.
"""

from __future__ import annotations

import mmap
import os
import re
import secrets
from pathlib import Path
from typing import Final

import torch

DIRECTORY: Final = Path("/dev/shm")
_NAME: Final = re.compile(r"stepstream-[0-9a-f]{32}")
_BYTES: Final = 4


class Mailbox:
    """float32 [P], mapped by two processes. They take turns: who has sent a message lets the other have it."""

    def __init__(self, descriptor: int, num_parameters: int) -> None:
        """Closes the descriptor."""
        try:
            self._map = mmap.mmap(descriptor, num_parameters * _BYTES)
        finally:
            os.close(descriptor)
        self.values = torch.frombuffer(self._map, dtype=torch.float32)


def make(num_parameters: int) -> tuple[Mailbox, str] | None:
    """A new one, and its name; None where the machine has no room for it."""
    name = f"stepstream-{secrets.token_hex(16)}"
    path = DIRECTORY / name
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, num_parameters * _BYTES)
        except OSError:
            os.close(descriptor)
            path.unlink()
            return None
    except OSError:
        return None
    return Mailbox(descriptor, num_parameters), name


def find(name: str, num_parameters: int) -> Mailbox | None:
    """The one of that name; None where there is none on this host that this user made, of this size."""
    if not _NAME.fullmatch(name):
        return None
    try:
        descriptor = os.open(DIRECTORY / name, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return None
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid() or found.st_size != num_parameters * _BYTES:
        os.close(descriptor)
        return None
    return Mailbox(descriptor, num_parameters)


def forget(name: str) -> None:
    """Nobody needs to find it any more."""
    (DIRECTORY / name).unlink(missing_ok=True)
