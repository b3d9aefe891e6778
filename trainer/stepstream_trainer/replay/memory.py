"""Where frames are kept, and the memory there is: of the machine, of its control groups, of the accelerator."""

from __future__ import annotations

from pathlib import Path

import torch

from stepstream_trainer.replay.layout import FrameLayout, ReplayOptions, refuse_too_large, replay_bytes

UNKNOWN_BYTES = 2**63 - 1

ACCELERATOR_SHARE = 0.8
"""Of the accelerator's free memory that frames may take; training needs the rest."""
HOST_SHARE = 0.9
"""Of the host's available memory: what is there now is taken step by step, and others want some meanwhile."""


def place_frames(options: ReplayOptions, layout: FrameLayout, device: torch.device) -> torch.device:
    """The accelerator `device` when the frames fit there, else host memory. Raises ReplayTooLargeError."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if replay_bytes(options, layout) <= free * ACCELERATOR_SHARE:
            return device
    refuse_too_large(options, layout, available_bytes=int(available_memory_bytes() * HOST_SHARE))
    return torch.device("cpu")


def available_memory_bytes(root: Path = Path("/")) -> int:
    """Of /proc/meminfo and the control groups (either version) that a container sees as its own.

    `root` is the directory that holds proc and sys. Where nothing tells, a number no replay reaches.
    """
    group = root / "sys/fs/cgroup"
    available = (
        _machine_bytes(root / "proc/meminfo"),
        _group_bytes(group, "memory.max", "memory.current", ("inactive_file", "active_file")),
        _group_bytes(
            group / "memory",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            ("total_inactive_file", "total_active_file"),
        ),
    )
    return max(0, min(available))


def _machine_bytes(meminfo: Path) -> int:
    if not meminfo.exists():
        return UNKNOWN_BYTES
    facts = {name: value.split()[0] for name, _, value in _lines(meminfo, ":")}
    return int(facts["MemAvailable"]) * 1024 if "MemAvailable" in facts else UNKNOWN_BYTES


def _group_bytes(group: Path, limit: str, usage: str, reclaimable: tuple[str, str]) -> int:
    """What the limit leaves; pages of files make room for whoever needs it."""
    if not (group / limit).exists() or not (group / usage).exists():
        return UNKNOWN_BYTES
    allowed = (group / limit).read_text().strip()
    facts = {name: value for name, _, value in _lines(group / "memory.stat", " ")}
    used = int((group / usage).read_text()) - sum(int(facts.get(name, 0)) for name in reclaimable)
    return UNKNOWN_BYTES if allowed == "max" else int(allowed) - used


def _lines(path: Path, separator: str) -> list[tuple[str, str, str]]:
    return [line.partition(separator) for line in path.read_text().splitlines()] if path.exists() else []
