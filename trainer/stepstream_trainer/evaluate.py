"""How good is a run's agent: whole games with true, unclipped scores.

python -m stepstream_trainer.evaluate RUN [--episodes 30] [--sample] [--checkpoint FILE] [--video FILE.gif] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stepstream_trainer.agent import Game, NoAgentError, Run, load_agent, load_run, play
from stepstream_trainer.arguments import at_least_one, gif_file
from stepstream_trainer.atari_scores import human_normalised
from stepstream_trainer.config import contract
from stepstream_trainer.learner.checkpoint import CheckpointError
from stepstream_trainer.simulator.environments import EnvironmentRefusedError, make_batch
from stepstream_trainer.video import record, save

LANES = 16
"""Games at a time: enough to fill a forward pass, few enough that the last ones do not play alone for long."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """What was found. Returns are true scores of whole games; `human_normalised` is None outside the 57 games."""

    environment: str
    step: int
    policy: str
    returns: tuple[float, ...]
    lengths: tuple[int, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.returns))

    @property
    def deviation(self) -> float:
        """Standard deviation between games."""
        return float(np.std(self.returns))

    @property
    def human_normalised(self) -> float | None:
        return human_normalised(self.environment, self.mean)


def evaluate(run: Run, *, episodes: int, greedy: bool, max_steps: int, show: bool) -> Evaluation:
    """Play `episodes` games. `show` writes a line for each to stderr."""
    config = run.config
    probe = make_batch(config.environment, 1)
    probe.close()
    agent = load_agent(run, probe.spaces)
    games = play(
        agent,
        config.environment,
        episodes=episodes,
        lanes=min(LANES, episodes),
        seed=config.seed,
        greedy=greedy,
        max_steps=max_steps,
        told=_show if show else _say_nothing,
    )
    return Evaluation(
        environment=config.environment.id,
        step=run.manifest.step,
        policy=agent.policy.named(greedy=greedy),
        returns=tuple(game.episode_return for game in games),
        lengths=tuple(game.length for game in games),
    )


def as_json(run: Path, found: Evaluation) -> dict[str, Any]:
    return {
        "run": str(run),
        "environment": found.environment,
        "checkpointStep": found.step,
        "policy": found.policy,
        "episodes": len(found.returns),
        "meanReturn": found.mean,
        "stdReturn": found.deviation,
        "minReturn": min(found.returns),
        "maxReturn": max(found.returns),
        "meanLength": float(np.mean(found.lengths)),
        "humanNormalised": found.human_normalised,
        "returns": found.returns,
        "lengths": found.lengths,
    }


def as_text(found: Evaluation) -> str:
    lines = [
        f"{found.environment} at {found.step:,} steps, {found.policy.lower()} policy, {len(found.returns)} games",
        f"return  {found.mean:.2f} +- {found.deviation:.2f}  (lowest {min(found.returns):g}, "
        f"highest {max(found.returns):g})",
        f"length  {np.mean(found.lengths):.0f} steps",
    ]
    if found.human_normalised is not None:
        lines.append(f"human   {found.human_normalised:.1%}  (0 % is random play, 100 % the human player)")
    return "\n".join(lines)


def _show(game: Game) -> None:
    print(f"return {game.episode_return:g} after {game.length:,} steps", file=sys.stderr, flush=True)


def _say_nothing(game: Game) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="stepstream evaluate", description="Whole games with a run's agent.")
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory")
    parser.add_argument("--episodes", type=at_least_one, default=30, help="games to play (default 30)")
    parser.add_argument("--sample", action="store_true", help="explore as in training")
    parser.add_argument("--checkpoint", type=Path, help="a file of RUN/checkpoints (default: the newest)")
    parser.add_argument("--job", type=Path, metavar="FILE", help="its job.json (default: RUN/config/job.json)")
    parser.add_argument("--max-steps", type=at_least_one, default=100_000, help="of a game (default 100000)")
    parser.add_argument("--video", type=gif_file, metavar="FILE.gif", help="also record the first of the games")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    try:
        run = load_run(options.run, options.checkpoint, options.job)
        found = evaluate(
            run,
            episodes=options.episodes,
            greedy=not options.sample,
            max_steps=options.max_steps,
            show=not options.json and sys.stderr.isatty(),
        )
        print(json.dumps(as_json(options.run, found)) if options.json else as_text(found), flush=True)
        if options.video:
            save(record(run, episode=0, greedy=not options.sample), options.video)
    except (NoAgentError, CheckpointError, EnvironmentRefusedError, OSError) as error:
        print(f"stepstream evaluate: {error}", file=sys.stderr)
        return contract.EXIT_INVALID
    return contract.EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
