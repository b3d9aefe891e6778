"""rl_games on Pong with the common settings; run with the peers' Python, ended by whoever measures.

    python -m benchmarks.peers.run_rl_games --algorithm PPO --environments 16

The environment is EnvPool, as in the library's own Atari configurations (ppo_pong_envpool.yaml); the network too is
that file's, which is the Nature network with ELU. Normalisation of observations and values is off: nobody else here
does it, and it costs time.
"""

import argparse
import tempfile
from typing import Any

from rl_games.common.algo_observer import AlgoObserver
from rl_games.torch_runner import Runner

from benchmarks.settings import SETTINGS
from benchmarks.timeline import report


class ReportCycles(AlgoObserver):
    """An epoch, in rl_games' words, is one rollout and the update from it; it may be told of more than once."""

    def __init__(self) -> None:
        super().__init__()
        self._told = 0

    def after_print_stats(self, frame: int, epoch_num: int, total_time: float) -> None:
        if epoch_num > self._told:
            report(frame)
        self._told = epoch_num


def convolution(filters: int, kernel_size: int, strides: int) -> dict[str, int]:
    return {"filters": filters, "kernel_size": kernel_size, "strides": strides, "padding": 0}


def network() -> dict[str, Any]:
    default = {"name": "default"}
    return {
        "name": "actor_critic",
        "separate": False,
        "space": {"discrete": None},
        "cnn": {
            "permute_input": False,
            "type": "conv2d",
            "activation": "elu",
            "initializer": default,
            "regularizer": {"name": "None"},
            "convs": [convolution(32, 8, 4), convolution(64, 4, 2), convolution(64, 3, 1)],
        },
        "mlp": {"units": [512], "activation": "elu", "initializer": default},
    }


def schedule(algorithm: str, environments: int) -> dict[str, Any]:
    """Horizon, minibatch, epochs and loss of one algorithm."""
    if algorithm == "A2C":
        horizon = SETTINGS.a2c_horizon
        return {"ppo": False, "horizon_length": horizon, "minibatch_size": horizon * environments, "mini_epochs": 1}
    return {
        "ppo": True,
        "horizon_length": SETTINGS.ppo_horizon,
        "minibatch_size": SETTINGS.ppo_minibatch,
        "mini_epochs": SETTINGS.ppo_epochs,
    }


def configuration(algorithm: str, environments: int, train_dir: str, *, compiled: bool) -> dict[str, Any]:
    config = {
        "name": "benchmark",
        "env_name": "envpool",
        "device": "cpu",
        "train_dir": train_dir,
        "num_actors": environments,
        "env_config": {
            "env_name": SETTINGS.game.removeprefix("ALE/"),
            "has_lives": False,
            "env_type": "gymnasium",
            "episodic_life": True,
            "reward_clip": True,
        },
        "reward_shaper": {"scale_value": 1.0},
        "mixed_precision": False,
        "normalize_input": False,
        "normalize_value": False,
        "value_bootstrap": False,
        "normalize_advantage": algorithm == "PPO",
        "gamma": 0.99,
        "tau": 0.95,
        "learning_rate": 2.5e-4,
        "lr_schedule": "linear",
        "grad_norm": 0.5,
        "truncate_grads": True,
        "entropy_coef": 0.01,
        "critic_coef": 1.0,
        "e_clip": 0.1,
        "clip_value": False,
        "max_epochs": 10**6,
        "save_frequency": 10**6,
        "save_best_after": 10**6,
        "use_diagnostics": False,
        "print_stats": False,
        "torch_compile": compiled,
        **schedule(algorithm, environments),
    }
    agent = {"name": "a2c_discrete"}
    return {
        "params": {"seed": 1, "algo": agent, "model": {"name": "discrete_a2c"}, "network": network(), "config": config}
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algorithm", choices=("A2C", "PPO"), required=True)
    parser.add_argument("--environments", type=int, required=True)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True, help="its own default")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as train_dir:
        runner = Runner(ReportCycles())
        settings = configuration(arguments.algorithm, arguments.environments, train_dir, compiled=arguments.compile)
        runner.load(settings)
        runner.run({"train": True, "play": False})


if __name__ == "__main__":
    main()
