"""How fast training could be at most on these cores: each part alone, as Stepstream runs it, and the bound of all.

    python -m benchmarks.bound --algorithm PPO --environments 16 --seconds 10      prints one JSON object

`emulation` is ale-py's vector environment with random actions, `inference` the policy's forward pass and sampling,
`training` samples/s through one epoch of the update, or through DQN's updates with the sampling of their batches. With
cores shared, a step costs the sum of the three times.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
import torch

from benchmarks.jobs import PARAMETERS, trainer_config
from stepstream_trainer.algorithms.networks import build_actor_critic
from stepstream_trainer.algorithms.policy import Policy
from stepstream_trainer.algorithms.precision import Precision, choose_precision, keep_freed_memory
from stepstream_trainer.algorithms.q_learning import QUpdate, descent_of, network_of, objective_of
from stepstream_trainer.algorithms.q_policy import QPolicy
from stepstream_trainer.config import PolicyGradientParameters, PPOParameters, QLearningParameters, TrainerConfig
from stepstream_trainer.cores import usable_cores
from stepstream_trainer.learner.families import replay_options
from stepstream_trainer.learner.groups import number_of_groups
from stepstream_trainer.learner.observing import Observing, observing
from stepstream_trainer.learner.optimiser import build_update
from stepstream_trainer.learner.rollouts import Rollout
from stepstream_trainer.replay import FrameLayout, Outcomes, Replay
from stepstream_trainer.simulator.atari import AtariBatch
from stepstream_trainer.simulator.environments import ANY_EPISODE

NUM_ACTIONS = 6
NOISE_STEPS = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound:
    """Rates a second, each with all cores to itself: steps emulated, samples inferred, samples trained on."""

    emulation: float
    inference: float
    training: float
    epochs: float
    """Times that a step is learned from."""

    @property
    def steps_per_second(self) -> float:
        """With learner and simulators on the same cores."""
        return 1 / (1 / self.emulation + 1 / self.inference + self.epochs / self.training)


def rate(work: Callable[[], int], seconds: float) -> float:
    """Units a second; `work` does some and says how many. A tenth of the time goes by before counting begins."""
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds / 10:
        work()
    done, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        done += work()
    return done / elapsed


def emulation(config: TrainerConfig, seconds: float) -> float:
    """Agent steps a second of all the job's environments in one process."""
    size = config.learner.environments
    batch = AtariBatch(config.environment, size)
    everyone, generator = np.ones(size, np.bool_), np.random.default_rng(1)
    batch.reset(everyone, np.arange(size, dtype=np.int64))

    def step() -> int:
        outcome = batch.step(generator.integers(0, batch.spaces.num_actions, size, np.int32))
        over = outcome.terminated | outcome.truncated
        if over.any():
            batch.reset(over, np.full(over.sum(), ANY_EPISODE, np.int64))
        return size

    try:
        return rate(step, seconds)
    finally:
        batch.close()


class Learner(Protocol):
    """A learner's network, policy and update rule over noise, built as a learner builds them."""

    def infer(self) -> int:
        """One forward pass for one group of slots."""

    def train(self) -> int:
        """One update; gives the number of samples that it learned from."""


class RolloutLearner:
    """A2C's or PPO's."""

    def __init__(self, config: TrainerConfig, parameters: PolicyGradientParameters) -> None:
        precision, slots, seen = (
            choose_precision(config.learner.precision),
            config.learner.environments,
            seen_by(config),
        )
        num_actions = NUM_ACTIONS
        network = build_actor_critic(seen.network_input, num_actions, seed=config.seed, precision=precision)
        self._policy = Policy(network, precision)
        self._update = build_update(parameters, network, precision, seed=config.seed)
        self._rollout = Rollout(
            horizon=parameters.horizon,
            num_slots=slots,
            shape=seen.stack.stacked_shape,
            dtype=seen.dtype,
            device=precision.device,
        )
        self._fill_with_noise(num_actions)
        self._group = slice(0, slots // number_of_groups(config.learner))
        self._updates = 0

    def _fill_with_noise(self, num_actions: int) -> None:
        rollout, generator = self._rollout, np.random.default_rng(1)
        shape = rollout.reward.shape
        rollout.observation[:] = generator.integers(0, 256, rollout.observation.shape, np.uint8)
        rollout.action[:] = generator.integers(0, num_actions, shape)
        rollout.reward[:] = generator.standard_normal(shape)
        rollout.value[:] = generator.standard_normal(shape)
        rollout.log_prob[:] = -np.log(num_actions)
        rollout.terminated[:] = generator.random(shape) < 0.01
        rollout.truncated[:] = False
        rollout.final_value[:] = 0.0

    def infer(self) -> int:
        observation = self._rollout.observation_tensor(0, self._group)
        self._policy.act(observation, torch.full((len(observation),), 0.5))
        return len(observation)

    def train(self) -> int:
        batch = self._rollout.batch(
            torch.zeros(self._rollout.reward.shape[1], device=self._rollout.device), on_policy=True
        )
        self._update.update(batch, progress=0.0, update_number=self._updates)
        self._updates += 1
        return batch.num_samples


class ReplayLearner:
    """DQN's, with a replay of a few hundred rows of each slot."""

    def __init__(self, config: TrainerConfig, parameters: QLearningParameters) -> None:
        precision, seen = choose_precision(config.learner.precision), seen_by(config)
        network, target = (
            network_of(parameters, seen.network_input, NUM_ACTIONS, seed=config.seed, precision=precision)
            for _ in range(2)
        )
        objective = objective_of(parameters, precision.device)
        self._policy = QPolicy(network, precision, support_K=objective.support_K)
        descent = descent_of(parameters, network)
        self._update = QUpdate(network, target, parameters, objective, descent, precision)
        self._parameters = parameters
        self._replay = self._noise(config, parameters, seen, precision)
        group = config.learner.environments // number_of_groups(config.learner)
        self._observation = torch.zeros((group, *seen.stack.stacked_shape), dtype=torch.uint8)
        self._updates = 0

    @staticmethod
    def _noise(config: TrainerConfig, parameters: QLearningParameters, seen: Observing, precision: Precision) -> Replay:
        slots, generator = config.learner.environments, np.random.default_rng(1)
        frame = (config.environment.atari.height, config.environment.atari.width)
        layout = FrameLayout(frame_shape=frame, dtype=np.dtype(np.uint8), network_input=seen.network_input)
        replay = Replay(replay_options(config, parameters), layout, device=precision.device)
        frames = generator.integers(0, 256, (slots, *frame), np.uint8)
        replay.begin(slice(0, slots), frames)
        for _ in range(NOISE_STEPS // slots):
            ended = generator.random(slots) < 0.01
            replay.append(
                slice(0, slots),
                Outcomes(
                    action_n=generator.integers(0, NUM_ACTIONS, slots),
                    reward_n=generator.standard_normal(slots).astype(np.float32),
                    terminated_n=ended,
                    truncated_n=np.zeros(slots, np.bool_),
                    ended_n=ended,
                    observation_n=frames,
                    final_observation_n=frames,
                ),
            )
        return replay

    def infer(self) -> int:
        count = len(self._observation)
        self._policy.act(self._observation, torch.full((count,), 0.5), torch.full((count,), 0.1))
        return count

    def train(self) -> int:
        self._update.update(self._replay.sample(self._parameters.batch_size, self._updates))
        self._updates += 1
        return self._parameters.batch_size


def seen_by(config: TrainerConfig) -> Observing:
    atari = config.environment.atari
    return observing(config.environment, (atari.height, atari.width), np.dtype(np.uint8), 0)


def measure(config: TrainerConfig, seconds: float) -> Bound:
    """Every part for `seconds` each."""
    torch.set_num_threads(usable_cores())
    keep_freed_memory()
    parameters = config.algorithm.parameters
    if isinstance(parameters, PolicyGradientParameters):
        learner: Learner = RolloutLearner(config, parameters)
        passes = parameters.epochs if isinstance(parameters, PPOParameters) else 1
        epochs = float(passes)
    else:
        learner, epochs, passes = ReplayLearner(config, parameters), parameters.training_intensity, 1
    return Bound(
        emulation=emulation(config, seconds),
        inference=rate(learner.infer, seconds),
        training=passes * rate(learner.train, seconds),
        epochs=epochs,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algorithm", choices=tuple(PARAMETERS), required=True)
    parser.add_argument("--environments", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each of the three parts")
    arguments = parser.parse_args()
    bound = measure(trainer_config(arguments.algorithm, arguments.environments), arguments.seconds)
    print(json.dumps({**asdict(bound), "steps_per_second": bound.steps_per_second}))


if __name__ == "__main__":
    main()
