"""Learning curves: what is one curve, what is averaged, and what cannot be plotted."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepstream_trainer.atari_scores import RANDOM_AND_HUMAN, human_normalised
from stepstream_trainer.config import TrainerConfig, dump, parse
from stepstream_trainer.plot import average_seeds, main, read_curve


def write_run(path: Path, returns: dict[int, float | None], *, name: str = "cart", **fields: Any) -> Path:
    """A run directory with one history line for each (steps, mean return). `fields` are of its configuration."""
    (path / "config").mkdir(parents=True)
    given = {"job": name, "environment": {"id": "CartPole-v1"}, "algorithm": {"name": "PPO"}} | fields
    (path / "config" / "job.json").write_text(dump(parse(TrainerConfig, given, path="")))
    lines = [
        {"time": f"2024-01-01T00:{index:02}:00Z", "attempt": 1, "steps": steps, "frames": steps, "episodeReturn": value}
        for index, (steps, value) in enumerate(returns.items())
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_curve_begins_with_the_first_return(tmp_path: Path) -> None:
    curve = read_curve(write_run(tmp_path / "a", {0: None, 10: 1.0, 20: 3.0}), "steps")
    assert curve.x.tolist() == [10, 20]
    assert curve.y.tolist() == [1, 3]


def test_runs_that_differ_only_in_seed_and_name_are_averaged(tmp_path: Path) -> None:
    first = read_curve(write_run(tmp_path / "a", {0: 0.0, 100: 10.0}, seed=0), "steps")
    second = read_curve(write_run(tmp_path / "b", {0: 10.0, 100: 30.0}, seed=1, name="cart-1"), "steps")
    [band] = average_seeds([first, second])
    assert band.label == "CartPole-v1 PPO, cart (2 seeds)"
    np.testing.assert_allclose([band.mean[0], band.mean[-1]], [5, 20])
    np.testing.assert_allclose([band.low[-1], band.high[-1]], [10, 30])


def test_how_many_simulators_served_a_run_is_no_setting_of_its_learning(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"{n}", {0: 0.0, 9: 1.0}, simulators={"replicas": n}) for n in (1, 2)]
    assert len(average_seeds([read_curve(run, "steps") for run in runs])) == 1


def test_settings_of_one_job_are_told_apart_by_their_directories(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / kind, {0: 0.0, 9: 1.0}, learner={"precision": kind}) for kind in ("Float32", "BFloat16")
    ]
    bands = average_seeds([read_curve(run, "steps") for run in runs])
    assert [band.label for band in bands] == ["CartPole-v1 PPO, cart, Float32", "CartPole-v1 PPO, cart, BFloat16"]
    assert main([*map(str, runs), "--output", str(tmp_path / "both.png")]) == 0


def test_time_between_a_stop_and_its_resume_is_not_training(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", {0: 0.0, 10: 1.0, 20: 2.0})
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    lines[2]["attempt"] = 2
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    np.testing.assert_allclose(read_curve(run, "hours").x * 60, [0, 1, 1])


@pytest.mark.parametrize("axis", ["steps", "frames", "hours"])
def test_the_picture_is_a_png(axis: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", {0: 0.0, 10: 1.0})
    assert main([str(run), "--x", axis]) == 0
    assert (run / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_plotted_is_said_in_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = write_run(tmp_path / "empty", {0: None})
    assert main([str(empty)]) == 78
    assert main([str(tmp_path)]) == 78
    first, second = capsys.readouterr().err.splitlines()
    assert first == f"stepstream plot: {empty}: no episode has ended yet, so there is no return to plot"
    assert second == f"stepstream plot: {tmp_path}: is not a run directory: it has no metrics.jsonl"


@pytest.mark.parametrize(("score", "expected"), [(-20.7, 0.0), (14.6, 1.0), (18.0, 1.0963)])
def test_random_play_is_zero_and_the_human_player_is_one(score: float, expected: float) -> None:
    assert human_normalised("ALE/Pong-v5", score) == pytest.approx(expected, abs=1e-4)


def test_games_without_reference_scores_have_no_normalised_score() -> None:
    assert human_normalised("CartPole-v1", 500.0) is None
    assert human_normalised("ALE/Galaxian-v5", 500.0) is None
    assert len(RANDOM_AND_HUMAN) == 57
