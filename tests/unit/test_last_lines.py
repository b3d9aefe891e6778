"""Figures that tests tell are read below the results, whether a worker ran the tests or none did."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = """
def test_one(tell_at_the_end):
    tell_at_the_end("7 crash points tried")
    tell_at_the_end("1000 jobs generated")

def test_two(tell_at_the_end):
    tell_at_the_end("7 crash points tried")
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_each_line_that_is_told_comes_once(tmp_path: Path, workers: int) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    plugins = ["-p", "tests.support.last_lines", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *plugins, "-n", str(workers), "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert lines.count("7 crash points tried") == lines.count("1000 jobs generated") == 1, done.stdout + done.stderr
