"""Commands that the trainer carries out, and what a terminal shows of a run."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest
from rich.console import Console

from stepstream_operator import cli
from stepstream_operator.local.display import Display, LiveDisplay, RunView, make_display
from stepstream_operator.local.figures import Figures
from stepstream_trainer import plot
from stepstream_trainer.config import TrainerConfig, dump, parse

SAID = ("1,234", "policy lag", "1.5 updates", "50.0%", "left 4m 12s", "12.50", "optimise")
"""What somebody who watches a run wants to know."""


class ReplacedError(Exception):
    """The process has become another."""


@pytest.mark.parametrize("command", ["evaluate", "video", "plot"])
def test_a_command_of_the_trainer_takes_the_place_of_this_process(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    became: list[tuple[str, Sequence[str]]] = []

    def execv(path: str, words: Sequence[str]) -> NoReturn:
        became.append((path, words))
        raise ReplacedError

    monkeypatch.setattr(os, "execv", execv)
    with pytest.raises(ReplacedError):
        cli.main([command, "runs/my run", "--episodes", "3"])
    module = f"stepstream_trainer.{command}"
    assert became == [(sys.executable, [sys.executable, "-m", module, "runs/my run", "--episodes", "3"])]


@pytest.mark.parametrize("command", cli.TRAINER_COMMANDS)
def test_a_command_of_the_trainer_is_a_module_that_can_be_run(command: str) -> None:
    source = Path(plot.__file__).with_name(f"{command}.py").read_text()
    assert 'if __name__ == "__main__":' in source


def write_run(path: Path, *, seed: int, returns: Sequence[float]) -> str:
    (path / "config").mkdir(parents=True)
    given = {"job": path.name, "seed": seed, "environment": {"id": "CartPole-v1"}, "algorithm": {"name": "PPO"}}
    (path / "config" / "job.json").write_text(dump(parse(TrainerConfig, given, path="")))
    lines = [
        {"time": "2024-01-01T00:00:00Z", "attempt": 1, "steps": 10 * n, "frames": 10 * n, "episodeReturn": value}
        for n, value in enumerate(returns)
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def test_several_runs_are_drawn_into_one_picture_where_the_command_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn: list[tuple[list[str], int]] = []
    draw = plot.draw

    def watch(bands: Sequence[plot.Band], axis: str, output: Path) -> None:
        drawn.append(([band.label for band in bands], len(bands[0].curves)))
        draw(bands, axis, output)

    monkeypatch.setattr(plot, "draw", watch)
    monkeypatch.chdir(tmp_path)
    runs = [write_run(tmp_path / name, seed=seed, returns=[1.0, 2.0, 4.0]) for seed, name in enumerate("ab")]
    assert plot.main(runs) == 0
    assert capsys.readouterr().out == "curves.png\n"
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert plot.main([*runs, "--output", str(tmp_path / "mine.png")]) == 0
    assert (tmp_path / "mine.png").exists()
    assert drawn == [(["CartPole-v1 PPO, a (2 seeds)"], 2)] * 2


def running_view() -> RunView:
    figures = Figures(
        attempt=1,
        phase="Running",
        message="",
        mode="Async",
        steps=500,
        total_steps=1000,
        frames=2000,
        updates=7,
        episodes=3,
        steps_per_second=1234.0,
        episode_return=12.5,
        episode_length=40.0,
        policy_lag=1.5,
        percent=50.0,
        remaining_seconds=252.0,
        phase_seconds={},
        slots_total=8,
        slots_leased=8,
        simulators=2,
        checkpoint_step=None,
        checkpoint_time=None,
        checkpoint_failures=0,
    )
    return RunView(
        title="pong",
        directory="runs/pong",
        phase="Running",
        message="",
        attempt=1,
        elapsed_seconds=5.0,
        unix_time=1_700_000_012.0,
        simulators_up=2,
        simulators_wanted=2,
        figures=figures,
        fractions={"wait": 0.25, "optimise": 0.75},
    )


def watch(display: Display) -> None:
    display.show(running_view())
    display.note("2 simulators are up")
    display.close()


def test_the_live_display_shows_speed_lag_and_the_time_that_is_left() -> None:
    stream = io.StringIO()
    watch(LiveDisplay(Console(file=stream, width=100, force_terminal=True, color_system=None)))
    assert [said for said in SAID if said not in stream.getvalue()] == []
    assert "2 simulators are up" in stream.getvalue()


def test_a_terminal_gets_the_live_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    ours, theirs = os.openpty()
    shown: list[bytes] = []
    reading = threading.Thread(target=lambda: shown.extend(what_is_shown(ours)))
    reading.start()
    with os.fdopen(theirs, "w") as terminal:
        watch(make_display(terminal))
    reading.join()
    text = b"".join(shown).decode()
    assert [said for said in SAID if said not in text] == []
    assert "\x1b[" in text, "drawn in place"


def what_is_shown(terminal: int) -> Iterator[bytes]:
    """Until the other end is closed. A terminal holds few kilobytes that nobody has read."""
    with os.fdopen(terminal, "rb", buffering=0) as screen, suppress(OSError):
        while piece := screen.read(1 << 16):
            yield piece
