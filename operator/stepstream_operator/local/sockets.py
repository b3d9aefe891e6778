"""A private directory for a run's Unix sockets."""

import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path("/tmp")
"""Short on purpose, unlike TMPDIR or the run directory may be: a socket's path ends at 107 bytes (unix(7))."""
PREFIX = "stepstream-"


@contextmanager
def socket_directory() -> Iterator[str]:
    """A fresh directory of mode 0700, removed with all that is in it."""
    path = tempfile.mkdtemp(prefix=PREFIX, dir=ROOT)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def other_runs_at_work(own: str) -> int:
    """How many directories beside `own` have a socket that somebody of this user listens at."""
    others = (path for path in ROOT.glob(f"{PREFIX}*") if str(path) != own and _is_ours(path))
    return sum(any(_is_listened_at(path) for path in other.glob("*.sock")) for other in others)


def remove_left_sockets(path: str) -> None:
    """Remove the directory that a killed runner noted. Anything that is not surely one of ours stays."""
    left = Path(path)
    if path and left.parent == ROOT and left.name.startswith(PREFIX) and _is_ours(left):
        shutil.rmtree(left, ignore_errors=True)


def _is_ours(path: Path) -> bool:
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()


def _is_listened_at(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(str(path)) == 0
