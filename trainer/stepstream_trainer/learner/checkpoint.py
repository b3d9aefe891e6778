"""Checkpoints that are whole or not there.

A checkpoint is a data file and a manifest that holds the data's SHA-256. Data first, manifest second, each written
beside its place, flushed to the disk and renamed: whoever finds a manifest finds the data it names, however the writer
died. Reading verifies the checksum and goes back to an older checkpoint when the newest is damaged. Data is read with
`weights_only`: a checkpoint can hold tensors and plain values, never code.

A manifest may name files beside it, which are there before it is and which several checkpoints may share. They stay
until the last checkpoint that names them goes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

FORMAT = 3
"""Rises when a checkpoint of today could no longer be read by the code of yesterday."""

State = dict[str, Any]

BESIDE_SUFFIX = ".beside"
"""Of files that belong to checkpoints and are named by their manifests."""
NOTHING: Mapping[str, str] = {}
SUPERSEDED = "checkpoints-superseded"
"""Directory of the checkpoints that an attempt did not go on from, because the job says so."""


class CheckpointError(Exception):
    """No checkpoint here can be used; the text says which were tried and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What is known of a checkpoint without reading its data."""

    step: int
    updates: int
    attempt: int
    job_digest: str
    """Of the job's fields that a resumed run must share; see `TrainerConfig.identity_digest`."""
    unix_time: float
    sha256: str
    bytes: int
    format: int = FORMAT
    beside: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the files that belong to the checkpoint, by name."""


class CheckpointStore:
    """The checkpoints of one run, newest last; keeps the `retain` newest. Loop thread only."""

    def __init__(self, directory: Path, retain: int) -> None:
        self.directory = directory
        self._retain = retain

    def go_on_from(self, step: int | None) -> None:
        """Make way for what an attempt writes; before its first `save`.

        Whatever is newer than the checkpoint of `step` is damaged, or it would be gone on from: it is deleted, and
        takes no place among the newest. An attempt that begins anew (None) finds nothing here: earlier checkpoints go
        to SUPERSEDED beside them, and what was there before is deleted.
        """
        if step is None:
            self._set_aside()
            return
        for partial in self.directory.glob("*.partial"):
            partial.unlink()
        for manifest in self._manifests_newest_first():
            if manifest > self.manifest_path(step):
                manifest.unlink()
                manifest.with_suffix(".pt").unlink(missing_ok=True)

    def save(
        self,
        state: State,
        *,
        step: int,
        updates: int,
        attempt: int,
        job_digest: str,
        beside: Mapping[str, str] = NOTHING,
    ) -> Manifest:
        """Write one checkpoint; raises OSError when the disk refuses, and then leaves the older ones as they were."""
        self.directory.mkdir(parents=True, exist_ok=True)
        data = serialise(state)
        manifest = Manifest(
            step=step,
            updates=updates,
            attempt=attempt,
            job_digest=job_digest,
            unix_time=time.time(),
            sha256=hashlib.sha256(data).hexdigest(),
            bytes=len(data),
            beside=dict(beside),
        )
        write_durably(self._data_path(step), data)
        write_durably(self.manifest_path(step), json.dumps(asdict(manifest), indent=1).encode())
        self._prune()
        return manifest

    def load_latest(self, *, warn: Callable[[str], None], with_beside: bool = True) -> tuple[Manifest, State] | None:
        """The newest checkpoint that is whole, also in what lies beside it if that is wanted; None if there are none.

        Each damaged one is told to `warn`.

        Raises CheckpointError when there are checkpoints and not one of them can be read.
        """
        damaged = []
        for path in self._manifests_newest_first():
            try:
                found = self.load(path)
                if with_beside:
                    self._verify_beside(found[0])
                return found
            except CheckpointError as error:
                damaged.append(str(error))
                warn(str(error))
        if damaged:
            raise CheckpointError(
                f"{self.directory}: none of {len(damaged)} checkpoints can be read ({damaged[0]}); "
                "restore one from a copy, or start afresh with --fresh"
            )
        return None

    def load(self, manifest_path: Path) -> tuple[Manifest, State]:
        """Read the checkpoint of one manifest file, and nothing beside it; CheckpointError when it is not whole."""
        try:
            manifest = Manifest(**json.loads(manifest_path.read_text()))
            if manifest.format != FORMAT:
                raise CheckpointError(f"{manifest_path}: format {manifest.format}, this version reads {FORMAT}")
            data = self._data_path(manifest.step).read_bytes()
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(f"{manifest_path}: cannot be read: {error}") from error
        if hashlib.sha256(data).hexdigest() != manifest.sha256:
            raise CheckpointError(f"{self._data_path(manifest.step)}: damaged: its checksum is not the manifest's")
        try:
            return manifest, deserialise(data)
        except pickle.UnpicklingError as error:
            raise CheckpointError(
                f"{self._data_path(manifest.step)}: holds more than tensors and plain values"
            ) from error

    def newest(self) -> Path | None:
        """Path of the newest manifest."""
        return next(self._manifests_newest_first(), None)

    def _set_aside(self) -> None:
        if self.newest() is not None:
            superseded = self.directory.with_name(SUPERSEDED)
            shutil.rmtree(superseded, ignore_errors=True)
            self.directory.rename(superseded)

    def _data_path(self, step: int) -> Path:
        return self.directory / f"checkpoint-{step:012d}.pt"

    def manifest_path(self, step: int) -> Path:
        """Where the manifest of the checkpoint at `step` lies."""
        return self.directory / f"checkpoint-{step:012d}.json"

    def _manifests_newest_first(self) -> Iterator[Path]:
        return iter(sorted(self.directory.glob("checkpoint-*.json"), reverse=True))

    def _verify_beside(self, manifest: Manifest) -> None:
        """Raises CheckpointError when a file that belongs to the checkpoint is not what it was."""
        for name, sha256 in manifest.beside.items():
            path = self.directory / name
            try:
                with path.open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise CheckpointError(f"{path}: cannot be read: {error}") from error
            if found != sha256:
                raise CheckpointError(f"{path}: damaged: its checksum is not the manifest's")

    def _prune(self) -> None:
        """Delete what is neither among the newest `retain` nor part of a whole checkpoint."""
        kept = list(self._manifests_newest_first())[: self._retain]
        wanted = {*kept, *(path.with_suffix(".pt") for path in kept)}
        wanted.update(self.directory / name for path in kept for name in _names_beside(path))
        found = [*self.directory.glob("checkpoint-*"), *self.directory.glob(f"*{BESIDE_SUFFIX}")]
        # A manifest goes before its data, so that what remains at any moment is whole.
        for path in sorted(found, key=lambda path: path.suffix != ".json"):
            if path not in wanted:
                path.unlink(missing_ok=True)


def parameter_digest(network: torch.nn.Module) -> str:
    """SHA-256 over all parameters and buffers, bit for bit: two equal digests are two equal networks."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())  # sync
    return digest.hexdigest()


def _names_beside(manifest_path: Path) -> list[str]:
    """What the manifest names; nothing where it cannot be read, for then the checkpoint cannot be used either."""
    try:
        return list(json.loads(manifest_path.read_text()).get("beside", {}))
    except (OSError, ValueError):
        return []


def write_durably(path: Path, data: bytes) -> None:
    """Put `data` at `path` so that after a crash there is either all of it or what was there before."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
        _flush_directory(path.parent)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def serialise(state: State) -> bytes:
    buffer = io.BytesIO()
    torch.save(_map_leaves(state, np.ndarray, torch.from_numpy), buffer)
    return buffer.getvalue()


def deserialise(data: bytes) -> State:
    state: State = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state


def as_arrays(tree: Any) -> Any:
    """The same tree with NumPy arrays where it has tensors."""
    return _map_leaves(tree, torch.Tensor, torch.Tensor.numpy)


def _map_leaves(tree: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    if isinstance(tree, dict):
        return {key: _map_leaves(value, kind, change) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_map_leaves(value, kind, change) for value in tree]
    return change(tree) if isinstance(tree, kind) else tree
