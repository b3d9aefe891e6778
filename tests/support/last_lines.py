"""What a run of tests says in its last lines: figures that tests tell, in whichever process they ran.

A worker of pytest-xdist has no terminal. What it is told travels in its `workeroutput` to the process that has one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

_LINES = pytest.StashKey[list[str]]()
_OUTPUT = "last_lines"

TellAtTheEnd = Callable[[str], None]


@pytest.fixture
def tell_at_the_end(request: pytest.FixtureRequest) -> TellAtTheEnd:
    """Puts a line below the results of the whole run."""
    return lambda line: tell(request.config, line)


def tell(config: pytest.Config, line: str) -> None:
    config.stash.setdefault(_LINES, []).append(line)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput[_OUTPUT] = session.config.stash.get(_LINES, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    for line in getattr(node, "workeroutput", {}).get(_OUTPUT, []):
        tell(node.config, line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Every worker collects every test, so some lines come from each of them."""
    for line in dict.fromkeys(terminalreporter.config.stash.get(_LINES, [])):
        terminalreporter.write_line(line)
