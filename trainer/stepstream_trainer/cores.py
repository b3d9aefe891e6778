"""How many processors this process may keep busy: a container's limit, not the node's size."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def usable_cores(cgroup: Path = CGROUP, environment: Mapping[str, str] = os.environ) -> int:
    """At least 1. OMP_NUM_THREADS overrules, as it does for every numerical library."""
    told = environment.get("OMP_NUM_THREADS", "")
    if told.isdigit() and int(told) > 0:
        return int(told)
    cores = len(os.sched_getaffinity(0))
    quota = _quota(cgroup)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def _quota(cgroup: Path) -> float | None:
    """Processors that the container may use, by cgroup v2 or v1; None without a limit."""
    try:
        limit, period = (cgroup / "cpu.max").read_text().split()
    except OSError:
        return _quota_v1(cgroup)
    return None if limit == "max" else int(limit) / int(period)


def _quota_v1(cgroup: Path) -> float | None:
    try:
        limit = int((cgroup / "cpu" / "cpu.cfs_quota_us").read_text())
        period = int((cgroup / "cpu" / "cpu.cfs_period_us").read_text())
    except OSError:
        return None
    return None if limit <= 0 else limit / period
