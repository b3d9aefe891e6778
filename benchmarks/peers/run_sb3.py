"""Stable-Baselines3 on Pong with the common settings; run with the peers' Python, ended by whoever measures.

    python -m benchmarks.peers.run_sb3 --algorithm PPO --environments 16 --vector-env dummy

The environment is the library's own Atari set-up (make_atari_env and VecFrameStack), the network its own Nature CNN.
"""

import argparse

import ale_py
import gymnasium
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv, VecFrameStack

from benchmarks.settings import SETTINGS
from benchmarks.timeline import report

VECTOR_ENVS = {"dummy": DummyVecEnv, "subproc": SubprocVecEnv}


class ReportCycles(BaseCallback):
    """A rollout starts where the update before it ended."""

    def _on_rollout_start(self) -> None:
        report(self.num_timesteps)

    def _on_step(self) -> bool:
        return True


def make_game() -> gymnasium.Env:
    """The bare emulator, also in a process of its own; the library's wrapper skips frames itself."""
    gymnasium.register_envs(ale_py)
    return gymnasium.make(SETTINGS.game, frameskip=1, repeat_action_probability=0.0)


def make_environment(environments: int, vector_env: str) -> VecEnv:
    """AtariWrapper's defaults are the common: skip 4, max-pool, 30 no-ops, fire reset, life loss, clipped reward."""
    made = make_atari_env(make_game, n_envs=environments, seed=1, vec_env_cls=VECTOR_ENVS[vector_env])
    return VecFrameStack(made, n_stack=4)


def make_algorithm(name: str, environment: VecEnv) -> BaseAlgorithm:
    if name == "A2C":
        return A2C("CnnPolicy", environment, n_steps=SETTINGS.a2c_horizon, vf_coef=0.25, ent_coef=0.01, device="cpu")
    if name == "DQN":
        return make_dqn(environment)
    return PPO(
        "CnnPolicy",
        environment,
        n_steps=SETTINGS.ppo_horizon,
        batch_size=SETTINGS.ppo_minibatch,
        n_epochs=SETTINGS.ppo_epochs,
        learning_rate=2.5e-4,
        clip_range=0.1,
        ent_coef=0.01,
        device="cpu",
    )


def make_dqn(environment: VecEnv) -> DQN:
    """The library collects `train_freq` steps of every environment, then trains: so often that a batch is due every
    few steps of any. Epsilon is small from the start, because a random action would spare it the forward pass."""
    return DQN(
        "CnnPolicy",
        environment,
        batch_size=SETTINGS.dqn_batch,
        train_freq=SETTINGS.dqn_train_every,
        gradient_steps=environment.num_envs,
        buffer_size=SETTINGS.dqn_replay,
        learning_starts=SETTINGS.dqn_starts,
        exploration_initial_eps=0.1,
        exploration_final_eps=0.1,
        device="cpu",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algorithm", choices=("A2C", "PPO", "DQN"), required=True)
    parser.add_argument("--environments", type=int, required=True)
    parser.add_argument("--vector-env", choices=tuple(VECTOR_ENVS), default="dummy")
    arguments = parser.parse_args()
    environment = make_environment(arguments.environments, arguments.vector_env)
    make_algorithm(arguments.algorithm, environment).learn(10**9, callback=ReportCycles())


if __name__ == "__main__":
    main()
