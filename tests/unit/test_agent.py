"""Playing whole games with a run's agent: scores that can be trusted, and a video of the same game."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stepstream_trainer import evaluate, video
from stepstream_trainer.agent import Game, Player, in_colour, load_agent, load_run, play
from stepstream_trainer.config import EvaluationConfig
from stepstream_trainer.learner.checkpoint import CheckpointError
from stepstream_trainer.learner.evaluations import Evaluated, Evaluations
from stepstream_trainer.simulator.environments import make_batch
from tests.support.daemons import eventually
from tests.support.run_directories import write_run

CARTPOLE: dict[str, Any] = {"id": "CartPole-v1"}
PONG: dict[str, Any] = {"id": "ALE/Pong-v5", "atari": {"stickyActionProbability": "0.25", "maxEpisodeSteps": 40}}


@pytest.fixture(scope="module")
def cartpole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("cartpole"), CARTPOLE)


@pytest.fixture(scope="module")
def pong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("pong"), PONG)


def games_of(run_directory: Path, *, lanes: int, greedy: bool, max_steps: int = 1000, episodes: int = 5) -> list[Game]:
    run = load_run(run_directory)
    batch = make_batch(run.config.environment, 1)
    batch.close()
    return play(
        load_agent(run, batch.spaces),
        run.config.environment,
        episodes=episodes,
        lanes=lanes,
        seed=3,
        greedy=greedy,
        max_steps=max_steps,
        told=lambda game: None,
    )


@pytest.mark.parametrize("greedy", [True, False])
def test_a_game_is_the_same_however_many_are_played_at_a_time(greedy: bool, cartpole: Path) -> None:
    assert games_of(cartpole, lanes=1, greedy=greedy) == games_of(cartpole, lanes=4, greedy=greedy)


@pytest.mark.parametrize("name", ["DQN", "CategoricalDQN", "EpsilonRainbow"])
def test_value_based_agents_play_with_the_epsilon_of_evaluations(name: str, tmp_path: Path) -> None:
    def run(epsilon: float) -> list[Game]:
        algorithm = {"name": name, "parameters": {"evaluationEpsilon": epsilon, "finalEpsilon": 1.0}}
        return games_of(write_run(tmp_path / f"{epsilon}", CARTPOLE, algorithm=algorithm), lanes=3, greedy=True)

    without, always = run(0.0), run(1.0)
    assert without != always
    assert games_of(tmp_path / "0.0", lanes=3, greedy=False) == always  # exploring as in training


def test_an_evaluation_says_how_a_value_based_agent_played(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", CARTPOLE, algorithm={"name": "DQN", "parameters": {}})
    assert evaluate.main([str(run), "--episodes", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["policy"] == "Epsilon 0.05"


def test_a_learner_evaluates_by_its_own_job_file_wherever_that_is(tmp_path: Path) -> None:
    """On a cluster there is none in the run's directory."""
    run = write_run(tmp_path / "run", CARTPOLE)
    (job := tmp_path / "job.json").write_text((run / "config" / "job.json").read_text())
    (run / "config" / "job.json").unlink()
    found: list[Evaluated] = []
    evaluations = Evaluations(run, job, EvaluationConfig(interval_steps=1000, episodes=1), found.append)
    evaluations.begin(1000, run / "checkpoints" / "checkpoint-000000001000.pt")
    eventually(evaluations.ended, timeout_seconds=120, what="the evaluation ended")
    assert [each.step for each in found] == [1000]


def test_sampled_games_are_not_the_greedy_ones(cartpole: Path) -> None:
    assert games_of(cartpole, lanes=4, greedy=True) != games_of(cartpole, lanes=4, greedy=False)


def test_the_return_is_the_sum_of_the_true_rewards(cartpole: Path) -> None:
    assert all(game.episode_return == game.length for game in games_of(cartpole, lanes=2, greedy=False))


def test_a_game_ends_at_the_limit_of_steps(cartpole: Path) -> None:
    assert {game.length for game in games_of(cartpole, lanes=2, greedy=False, max_steps=5)} == {5}


def test_a_cut_of_the_environment_ends_a_game_as_well(pong: Path) -> None:
    assert {game.length for game in games_of(pong, lanes=2, greedy=False, episodes=3)} == {40}


def test_evaluate_prints_one_json_object(cartpole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main([str(cartpole), "--episodes", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["episodes"], found["checkpointStep"], found["policy"]) == (4, 1000, "Greedy")
    assert found["meanReturn"] == pytest.approx(np.mean(found["returns"]))
    assert found["humanNormalised"] is None


def test_evaluate_normalises_atari_scores(pong: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main([str(pong), "--episodes", "1", "--sample"]) == 0
    assert "human " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        ("config/job.json", "is not a run directory: it has no config/job.json"),
        ("checkpoints/checkpoint-000000001000.json", "has no checkpoint yet"),
        ("checkpoints/checkpoint-000000001000.pt", "none of 1 checkpoints can be read"),
    ],
)
@pytest.mark.parametrize("command", [evaluate, video])
def test_a_run_without_an_agent_is_refused_with_a_sentence(
    prepare: str, sentence: str, command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (write_run(tmp_path / "run", CARTPOLE) / prepare).unlink()
    assert command.main([str(tmp_path / "run")]) == 78
    [line] = capsys.readouterr().err.splitlines()
    assert sentence in line


def test_an_agent_of_other_spaces_is_refused(cartpole: Path) -> None:
    run = load_run(cartpole)
    acrobot = make_batch(replace(run.config.environment, id="Acrobot-v1"), 1)
    with pytest.raises(CheckpointError, match="its checkpoint at 1000 steps does not fit"):
        load_agent(run, acrobot.spaces)
    acrobot.close()


def test_the_emulator_in_colour_plays_the_game_that_the_policy_sees(pong: Path) -> None:
    run = load_run(pong)
    seen = make_batch(run.config.environment, 1)
    shown = make_batch(in_colour(run.config.environment), 1)
    player = Player(load_agent(run, seen.spaces), seen, 1, seed=0, greedy=False)
    one = np.ones(1, np.bool_)
    view, colour = player.begin(one, [0]), shown.reset(one, player.seeds([0]))
    for _ in range(30):
        action = player.choose()
        view, _ = player.step(action)
        colour = shown.step(action).observation
        luminance = Image.fromarray(colour[0]).convert("L").resize((84, 84), Image.Resampling.BOX)
        difference = np.abs(np.asarray(luminance, np.int16) - view[0].astype(np.int16))
        assert difference.mean() < 4
    seen.close()
    shown.close()


@pytest.mark.parametrize("command", [[video.main, "--output"], [evaluate.main, "--video"]])
def test_a_video_by_another_name_than_gif_is_refused(command: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command[0](["run", command[1], "game.mp4"])
    assert "must end in .gif, the one format that is written, got 'game.mp4'" in capsys.readouterr().err


def test_a_video_is_a_gif_of_every_step(pong: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "game.gif"
    assert video.main([str(pong), "--output", str(output)]) == 0
    assert capsys.readouterr().out.startswith(f"{output}  (return ")
    with Image.open(output) as clip:
        assert (clip.format, clip.n_frames, clip.info["duration"]) == ("GIF", 41, 70)  # type: ignore[attr-defined]


def test_a_video_ends_after_its_seconds(pong: Path, tmp_path: Path) -> None:
    assert video.main([str(pong), "--output", str(tmp_path / "game.gif"), "--max-seconds", "1"]) == 0
    with Image.open(tmp_path / "game.gif") as clip:
        assert clip.n_frames == 15  # type: ignore[attr-defined]
