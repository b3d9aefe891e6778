"""A checkpoint is whole or not there, holds no code, and gives back what was put in, bit for bit."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stepstream_trainer.learner.checkpoint import (
    SUPERSEDED,
    CheckpointError,
    CheckpointStore,
    as_arrays,
    parameter_digest,
)


def no_warning(text: str) -> None:
    raise AssertionError(f"unexpected warning: {text}")


def save(store: CheckpointStore, step: int, **state: Any) -> None:
    store.save(state, step=step, updates=step // 10, attempt=1, job_digest="d")


def test_what_was_saved_comes_back_bit_for_bit(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, retain=3)
    seeds = np.array([0, 2**64 - 1], np.uint64)
    save(store, 10, network={"w": torch.tensor([1.5, -0.0])}, progress={"seeds": seeds, "returns": [1.0, 2.5]})
    loaded = store.load_latest(warn=no_warning)
    assert loaded is not None
    manifest, state = loaded
    assert (manifest.step, manifest.updates) == (10, 1)
    assert torch.equal(state["network"]["w"].view(torch.int32), torch.tensor([1.5, -0.0]).view(torch.int32))
    np.testing.assert_array_equal(as_arrays(state["progress"])["seeds"], seeds)
    assert state["progress"]["returns"] == [1.0, 2.5]


def test_only_the_newest_are_retained(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, retain=2)
    for step in (1, 20, 300):
        save(store, step)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"checkpoint-{step:012d}.{kind}" for step in (20, 300) for kind in ("json", "pt")
    ]


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_a_damaged_newest_checkpoint_is_told_and_the_one_before_it_is_used(tmp_path: Path, damage: str) -> None:
    store = CheckpointStore(tmp_path, retain=3)
    save(store, 10, value=1)
    save(store, 20, value=2)
    data = tmp_path / "checkpoint-000000000020.pt"
    content = data.read_bytes()
    if damage == "remove":
        data.unlink()
    else:
        data.write_bytes(content[:-7] if damage == "truncate" else bytes([content[0] ^ 1]) + content[1:])
    warnings: list[str] = []
    loaded = store.load_latest(warn=warnings.append)
    assert loaded is not None
    assert loaded[1] == {"value": 1}
    assert len(warnings) == 1
    assert "checkpoint-000000000020" in warnings[0]


def test_when_none_can_be_read_the_error_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-000000000010.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"none of 1 checkpoints can be read .* --fresh"):
        CheckpointStore(tmp_path, retain=1).load_latest(warn=lambda text: None)


def test_an_empty_directory_holds_no_checkpoint(tmp_path: Path) -> None:
    assert CheckpointStore(tmp_path / "absent", retain=1).load_latest(warn=no_warning) is None


def test_code_in_a_checkpoint_is_refused(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, retain=1)
    save(store, 10, value=1)
    manifest_path, data_path = tmp_path / "checkpoint-000000000010.json", tmp_path / "checkpoint-000000000010.pt"
    torch.save({"value": print}, data_path)
    manifest = json.loads(manifest_path.read_text())
    manifest["sha256"] = hashlib.sha256(data_path.read_bytes()).hexdigest()
    manifest_path.write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="more than tensors"):
        store.load(manifest_path)


def test_a_disk_that_refuses_leaves_the_older_checkpoint_whole(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, retain=1)
    save(store, 10, value=1)
    (tmp_path / "checkpoint-000000000020.pt.partial").mkdir()  # opening it for writing fails, also for root
    with pytest.raises(OSError):
        save(store, 20, value=2)
    loaded = store.load_latest(warn=no_warning)
    assert loaded is not None
    assert loaded[1] == {"value": 1}


WRITER = """
import sys, torch
from pathlib import Path
from stepstream_trainer.learner.checkpoint import CheckpointStore
store = CheckpointStore(Path(sys.argv[1]), retain=2)
for step in range(1, 10**6):
    store.save({"value": torch.full((200_000,), step)}, step=step, updates=step, attempt=1, job_digest="d")
    if step == 2:
        print("writing", flush=True)
"""


@pytest.mark.parametrize("delay_seconds", [0.0, 0.003, 0.01, 0.017, 0.031])
def test_a_writer_killed_at_any_moment_leaves_a_whole_checkpoint(tmp_path: Path, delay_seconds: float) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    time.sleep(delay_seconds)  # the moment of the kill is the parameter
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()
    loaded = CheckpointStore(tmp_path, retain=2).load_latest(warn=no_warning)
    assert loaded is not None
    manifest, state = loaded
    assert manifest.step >= 2
    assert torch.equal(state["value"], torch.full((200_000,), manifest.step))


def test_equal_digests_are_equal_networks() -> None:
    torch.manual_seed(1)
    network = torch.nn.Linear(3, 2)
    before = parameter_digest(network)
    with torch.no_grad():
        network.weight[0, 0] = torch.nextafter(network.weight[0, 0], torch.tensor(9.0))
    assert parameter_digest(network) != before


def test_a_damaged_checkpoint_takes_no_place_from_those_written_after_it(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, retain=1)
    save(store, 30)
    store.go_on_from(20)
    save(store, 25)
    assert store.newest() == store.manifest_path(25)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".pt"]


def test_an_attempt_that_begins_anew_keeps_its_own_checkpoints_and_those_before_it_apart(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", retain=2)
    for steps in ((800, 900), (10, 20), (5,)):
        store.go_on_from(None)
        for step in steps:
            save(store, step)
    superseded = CheckpointStore(tmp_path / SUPERSEDED, retain=2)
    assert store.newest() == store.manifest_path(5)
    assert superseded.newest() == superseded.manifest_path(20)


def test_what_a_killed_writer_left_half_written_goes_with_the_next_attempt(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, retain=1)
    save(store, 10)
    (tmp_path / "replay-000001-ab.beside.partial").write_bytes(b"half")
    store.go_on_from(10)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".pt"]
