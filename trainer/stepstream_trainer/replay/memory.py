"""Where frames are kept, and the memory there is: of the machine, of its control groups, of the accelerator."""

from __future__ import annotations

from pathlib import Path

import torch

from stepstream_trainer.replay.layout import FrameLayout, ReplayOptions, refuse_too_large, replay_bytes

UNKNOWN_BYTES = 2**63 - 1

ACCELERATOR_SHARE = 0.8
"""Of the accelerator's free memory that frames may take; training needs the rest."""


def place_frames(options: ReplayOptions, layout: FrameLayout, device: torch.device) -> torch.device:
    """The accelerator `device` when the frames fit there, else host memory. Raises ReplayTooLargeError."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if replay_bytes(options, layout) <= free * ACCELERATOR_SHARE:
            return device
    refuse_too_large(options, layout, available_bytes=available_memory_bytes())
    return torch.device("cpu")


def available_memory_bytes(root: Path = Path("/")) -> int:
    """Of /proc/meminfo and the control groups (either version) that a container sees as its own.

    `root` is the directory that holds proc and sys. Where nothing tells, a number no replay reaches.
    """
    machine = _machine_bytes(root / "proc/meminfo")
    group = root / "sys/fs/cgroup"
    pairs = [("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")]
    groups = [_left(group / limit, group / usage) for limit, usage in pairs]
    return max(0, min(machine, *groups))


def _machine_bytes(meminfo: Path) -> int:
    if not meminfo.exists():
        return UNKNOWN_BYTES
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    return int(lines["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in lines else UNKNOWN_BYTES


def _left(limit: Path, usage: Path) -> int:
    if not limit.exists() or not usage.exists():
        return UNKNOWN_BYTES
    allowed = limit.read_text().strip()
    return UNKNOWN_BYTES if allowed == "max" else int(allowed) - int(usage.read_text())
