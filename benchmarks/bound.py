"""How fast training could be at most on these cores: each part alone, as Stepstream runs it, and the bound of all.

    python -m benchmarks.bound --algorithm PPO --environments 16 --seconds 10      prints one JSON object

`emulation` is ale-py's vector environment with random actions, `inference` the policy's forward pass and sampling,
`training` samples/s through one epoch of the update. With cores shared, a step costs the sum of the three times.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch

from benchmarks.jobs import trainer_config
from stepstream_trainer.algorithms.networks import build_actor_critic
from stepstream_trainer.algorithms.policy import Policy
from stepstream_trainer.algorithms.precision import choose_precision, keep_freed_memory
from stepstream_trainer.config import A2CParameters, PPOParameters, TrainerConfig
from stepstream_trainer.cores import usable_cores
from stepstream_trainer.learner.groups import number_of_groups
from stepstream_trainer.learner.observing import observing
from stepstream_trainer.learner.optimiser import build_update
from stepstream_trainer.learner.rollouts import Rollout
from stepstream_trainer.simulator.atari import AtariBatch
from stepstream_trainer.simulator.environments import ANY_EPISODE


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound:
    """Rates a second, each with all cores to itself: steps emulated, samples inferred, samples trained on."""

    emulation: float
    inference: float
    training: float
    epochs: int

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


class Learner:
    """The learner's network, policy and update rule over a rollout of noise, built as a learner builds them."""

    def __init__(self, config: TrainerConfig) -> None:
        parameters = config.algorithm.parameters
        assert isinstance(parameters, A2CParameters | PPOParameters)
        torch.set_num_threads(usable_cores())
        keep_freed_memory()
        precision = choose_precision(config.learner.precision)
        atari, slots = config.environment.atari, config.learner.environments
        seen = observing(config.environment, (atari.height, atari.width), np.dtype(np.uint8), 0)
        num_actions = 6
        network = build_actor_critic(seen.network_input, num_actions, seed=config.seed, precision=precision)
        self._policy = Policy(network, precision)
        self._update = build_update(config, network, precision)
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
        """One forward pass for one group of slots."""
        observation = self._rollout.observation_tensor(0, self._group)
        self._policy.act(observation, torch.full((len(observation),), 0.5))
        return len(observation)

    def train(self) -> int:
        """One update; gives the number of samples of the rollout."""
        batch = self._rollout.batch(torch.zeros(self._rollout.reward.shape[1], device=self._rollout.device))
        self._update.update(batch, progress=0.0, update_number=self._updates)
        self._updates += 1
        return batch.num_samples


def measure(config: TrainerConfig, seconds: float) -> Bound:
    """Every part for `seconds` each."""
    parameters = config.algorithm.parameters
    epochs = parameters.epochs if isinstance(parameters, PPOParameters) else 1
    learner = Learner(config)
    return Bound(
        emulation=emulation(config, seconds),
        inference=rate(learner.infer, seconds),
        training=epochs * rate(learner.train, seconds),
        epochs=epochs,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algorithm", choices=("A2C", "PPO"), required=True)
    parser.add_argument("--environments", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each of the three parts")
    arguments = parser.parse_args()
    bound = measure(trainer_config(arguments.algorithm, arguments.environments), arguments.seconds)
    print(json.dumps({**asdict(bound), "steps_per_second": bound.steps_per_second}))


if __name__ == "__main__":
    main()
