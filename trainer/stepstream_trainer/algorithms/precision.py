"""Where the network's arithmetic happens, and in which number format."""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
from dataclasses import dataclass

import torch

from stepstream_trainer import config

M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
"""Options of glibc's mallopt(3)."""
KEEP_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Precision:
    """Parameters and their optimiser are float32 always; `dtype` is the format of the network's large products."""

    device: torch.device
    dtype: torch.dtype


def choose_precision(requested: config.Precision) -> Precision:
    """The device at hand, and the format asked for; `Auto` is bfloat16 wherever the hardware multiplies it directly."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    match requested:
        case config.Precision.Float32:
            return Precision(device=device, dtype=torch.float32)
        case config.Precision.BFloat16:
            return Precision(device=device, dtype=torch.bfloat16)
        case config.Precision.Auto:
            return Precision(device=device, dtype=torch.bfloat16 if _fast_bfloat16(device) else torch.float32)


def keep_freed_memory() -> None:
    """Let the C library keep the pages of large freed tensors for the next ones, which is most of what they cost.

    An update of 512 frames makes some 100 MB of activations; handing them back to the kernel after each one costs
    10,000 page faults to get them again. A no-op without glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, KEEP_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, KEEP_BYTES)


def _fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
