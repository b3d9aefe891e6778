"""A learner whose native code aborts says so, though what that code wrote is still on its way through a pipe."""

from __future__ import annotations

import signal
import subprocess
import sys

CRASHES = """
import os
from stepstream_trainer.learner.handshakes import RefusedHandshakes

def calls_native_code():
    os.abort()

with RefusedHandshakes():
    calls_native_code()
"""


def test_a_native_crash_says_where_it_was() -> None:
    done = subprocess.run([sys.executable, "-c", CRASHES], capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in done.stderr
    assert "in calls_native_code" in done.stderr
