"""A run's agent at play, as a GIF. Atari games show the console's picture beside what the policy sees.

python -m stepstream_trainer.video RUN [--output FILE.gif] [--episode N] [--sample] [--checkpoint FILE]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from stepstream_trainer.agent import NoAgentError, Player, Run, in_colour, load_agent, load_run
from stepstream_trainer.arguments import at_least_one, gif_file
from stepstream_trainer.config import contract
from stepstream_trainer.learner.checkpoint import CheckpointError
from stepstream_trainer.rows import Array
from stepstream_trainer.simulator.atari import AtariBatch
from stepstream_trainer.simulator.environments import EnvironmentRefusedError, make_batch
from stepstream_trainer.simulator.gymnasium_envs import GymnasiumBatch

ATARI_FRAMES_PER_SECOND = 60
"""Of the console; a step shows one of its frame skip."""
OTHER_FRAMES_PER_SECOND = 30
CAPTION_HEIGHT = 14
GAP = 6
CLIP_SECONDS = 60
_ONE = np.ones(1, np.bool_)


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """Pictures of one episode, `milliseconds` each (GIF counts in tens of them), and how it ended."""

    pictures: list[Image.Image]
    milliseconds: int
    episode_return: float
    length: int


def record(run: Run, *, episode: int, greedy: bool, max_seconds: float = CLIP_SECONDS) -> Clip:
    """Play one episode, to its end or until the clip is `max_seconds` long. Raises EnvironmentRefusedError."""
    environment = run.config.environment
    rate = ATARI_FRAMES_PER_SECOND / environment.frame_skip if environment.is_atari else OTHER_FRAMES_PER_SECOND
    with ExitStack() as closing:
        play = _play_atari if environment.is_atari else _play_gymnasium
        pictures: list[Image.Image] = []
        episode_return = 0.0
        for picture, episode_return in play(run, episode, greedy, closing):
            pictures.append(_captioned(picture, f"step {len(pictures)}  return {episode_return:g}"))
            if len(pictures) >= max_seconds * rate:
                break
    return Clip(
        pictures=pictures, milliseconds=10 * round(100 / rate), episode_return=episode_return, length=len(pictures) - 1
    )


def save(clip: Clip, output: Path) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = [picture.quantize(64, dither=Image.Dither.NONE) for picture in clip.pictures]
    first.save(output, format="GIF", save_all=True, append_images=rest, duration=clip.milliseconds, loop=0)


def _play_atari(run: Run, episode: int, greedy: bool, closing: ExitStack) -> Iterator[tuple[Image.Image, float]]:
    """Two emulators play the same game: one as the policy sees it, one as the console shows it."""
    seen = make_batch(run.config.environment, 1)
    closing.callback(seen.close)
    shown = AtariBatch(in_colour(run.config.environment), 1)
    closing.callback(shown.close)
    player = Player(load_agent(run, seen.spaces), seen, 1, seed=run.config.seed, greedy=greedy)
    view = player.begin(_ONE, [episode])
    colour = shown.reset(_ONE, player.seeds([episode]))
    ended = np.zeros(1, np.bool_)
    while True:
        yield _side_by_side(colour[0], view[0]), float(player.total_return[0])
        if ended[0]:
            return
        action = player.choose()
        view, ended = player.step(action)
        colour = shown.step(action).observation


def _play_gymnasium(run: Run, episode: int, greedy: bool, closing: ExitStack) -> Iterator[tuple[Image.Image, float]]:
    environment = run.config.environment
    batch = GymnasiumBatch(replace(environment, kwargs={**environment.kwargs, "render_mode": "rgb_array"}), 1)
    closing.callback(batch.close)
    player = Player(load_agent(run, batch.spaces), batch, 1, seed=run.config.seed, greedy=greedy)
    player.begin(_ONE, [episode])
    ended = np.zeros(1, np.bool_)
    while True:
        yield Image.fromarray(batch.picture()), float(player.total_return[0])
        if ended[0]:
            return
        _, ended = player.step(player.choose())


def _side_by_side(colour: Array, seen: Array) -> Image.Image:
    """The console's picture [210, 160, 3] and, of the same height, the newest frame of the policy's input."""
    left = Image.fromarray(colour)
    frame = Image.fromarray(seen).convert("RGB")
    right = frame.resize((round(frame.width * left.height / frame.height), left.height), Image.Resampling.NEAREST)
    whole = Image.new("RGB", (left.width + GAP + right.width, left.height))
    whole.paste(left, (0, 0))
    whole.paste(right, (left.width + GAP, 0))
    return whole


def _captioned(picture: Image.Image, caption: str) -> Image.Image:
    whole = Image.new("RGB", (picture.width, picture.height + CAPTION_HEIGHT))
    whole.paste(picture, (0, 0))
    ImageDraw.Draw(whole).text((3, picture.height + 1), caption, fill=(255, 255, 255))
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="stepstream video", description="A run's agent at play, as a GIF.")
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory")
    parser.add_argument(
        "--output", type=gif_file, metavar="FILE.gif", help="what to write (default: RUN/videos/<steps>-<episode>.gif)"
    )
    parser.add_argument("--episode", type=int, default=0, help="which of evaluate's games (default 0)")
    parser.add_argument("--sample", action="store_true", help="explore as in training")
    parser.add_argument("--checkpoint", type=Path, help="a file of RUN/checkpoints (default: the newest)")
    parser.add_argument("--max-seconds", type=at_least_one, default=CLIP_SECONDS, help="of the clip (default 60)")
    options = parser.parse_args(arguments)
    try:
        run = load_run(options.run, options.checkpoint)
        clip = record(run, episode=options.episode, greedy=not options.sample, max_seconds=options.max_seconds)
        output = options.output or options.run / "videos" / f"{run.manifest.step}-{options.episode}.gif"
        save(clip, output)
    except (NoAgentError, CheckpointError, EnvironmentRefusedError, OSError) as error:
        print(f"stepstream video: {error}", file=sys.stderr)
        return contract.EXIT_INVALID
    print(f"{output}  (return {clip.episode_return:g} after {clip.length:,} steps)")
    return contract.EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
