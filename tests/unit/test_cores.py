"""A process uses the processors its container may use, not those of the node."""

import os
from pathlib import Path

import pytest

from stepstream_trainer.cores import usable_cores

ALL = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("limit", "expected"), [("max 100000", ALL), ("100000 100000", 1), ("50000 100000", 1), ("9900000 100000", ALL)]
)
def test_a_limit_of_cgroup_v2_is_heeded(tmp_path: Path, limit: str, expected: int) -> None:
    (tmp_path / "cpu.max").write_text(limit)
    assert usable_cores(tmp_path, {}) == expected


@pytest.mark.parametrize(("limit", "expected"), [("-1", ALL), ("100000", 1)])
def test_a_limit_of_cgroup_v1_is_heeded(tmp_path: Path, limit: str, expected: int) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(limit)
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert usable_cores(tmp_path, {}) == expected


def test_without_limits_all_processors_are_used(tmp_path: Path) -> None:
    assert usable_cores(tmp_path, {}) == ALL


def test_a_number_of_threads_that_was_asked_for_overrules(tmp_path: Path) -> None:
    assert usable_cores(tmp_path, {"OMP_NUM_THREADS": "7"}) == 7
