"""Samples a second of the image network alone: as peers run it, as Stepstream does, and what the processor could do.

    python -m benchmarks.bench_network             all batch sizes, five rounds in turn (about three minutes)
    python -m benchmarks.bench_network --quick     one short round; writes no record

- default: torch's layers in float32 and their default layout, Adam of a list of tensors: what peers run
- Stepstream: `Policy.act`, and PPO's update of one epoch and one minibatch, as the learner runs them
- bare products: the network's multiplications as plain bfloat16 matrix products on data that is ready, and nothing else

All three take turns within a round, so that a machine that slows down slows all of them; shown are medians.
"""

import argparse
import statistics
from collections import defaultdict
from collections.abc import Callable

import torch
from torch import nn

from benchmarks.measuring import calls_per_second
from benchmarks.record import Record, Table, describe_machine
from stepstream_trainer.algorithms.batch import RolloutBatch
from stepstream_trainer.algorithms.networks import build_actor_critic
from stepstream_trainer.algorithms.observations import BlockImages
from stepstream_trainer.algorithms.policy import Policy
from stepstream_trainer.algorithms.precision import choose_precision, keep_freed_memory
from stepstream_trainer.config import PPOParameters, Precision
from stepstream_trainer.cores import usable_cores
from stepstream_trainer.learner.optimiser import build_update

NUM_ACTIONS = 6
INFERENCE_SIZES = (8, 16, 32, 64, 512)
TRAINING_SIZES = (80, 320, 512, 2048)

Work = Callable[[], object]

PRODUCTS = ((400, 256, 32), (81, 512, 64), (49, 576, 64), (1, 3136, 512))
"""Rows a sample, inputs and outputs of each layer's matrix product for 84x84x4."""


def plain_network() -> nn.Module:
    """Mnih et al. 2015, with one head for policy and value, as one would write it."""
    return nn.Sequential(
        nn.Conv2d(4, 32, 8, stride=4),
        nn.ReLU(),
        nn.Conv2d(32, 64, 4, stride=2),
        nn.ReLU(),
        nn.Conv2d(64, 64, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(3136, 512),
        nn.ReLU(),
        nn.Linear(512, NUM_ACTIONS + 1),
    )


def default_inference(size: int) -> Work:
    network, pixels = plain_network(), torch.randint(0, 256, (size, 4, 84, 84), dtype=torch.uint8)

    @torch.no_grad()
    def work() -> None:
        logits = network(pixels.float() / 255)[:, :NUM_ACTIONS]
        torch.distributions.Categorical(logits=logits, validate_args=False).sample()

    return work


def default_training(size: int) -> Work:
    network, pixels = plain_network(), torch.randint(0, 256, (size, 4, 84, 84), dtype=torch.uint8)
    optimiser = torch.optim.Adam(network.parameters(), lr=2.5e-4, eps=1e-5)
    action, advantage = torch.randint(0, NUM_ACTIONS, (size,)), torch.randn(size)

    def work() -> None:
        output = network(pixels.float() / 255)
        log_prob = torch.log_softmax(output[:, :NUM_ACTIONS], -1)
        chosen = log_prob.gather(1, action.unsqueeze(1)).squeeze(1)
        loss = -(chosen * advantage).mean() + (output[:, -1] - advantage).square().mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        optimiser.step()

    return work


def stepstream_inference(size: int) -> Work:
    precision = choose_precision(Precision.Auto)
    network = build_actor_critic(BlockImages(rows=21, columns=21, frames=4), NUM_ACTIONS, seed=1, precision=precision)
    policy = Policy(network, precision)
    observation, uniform = torch.randint(0, 256, (size, 21, 21, 64), dtype=torch.uint8), torch.rand(size)
    return lambda: policy.act(observation, uniform)


def stepstream_training(size: int) -> Work:
    precision = choose_precision(Precision.Auto)
    network = build_actor_critic(BlockImages(rows=21, columns=21, frames=4), NUM_ACTIONS, seed=1, precision=precision)
    update = build_update(PPOParameters(epochs=1, minibatch_size=size), network, precision, seed=1)
    batch = rollout(horizon=size // 16, slots=16, device=precision.device)
    return lambda: update.update(batch, progress=0.0, update_number=0)


def rollout(*, horizon: int, slots: int, device: torch.device) -> RolloutBatch:
    """Noise."""
    step = (horizon, slots)
    no = torch.zeros(step, dtype=torch.bool, device=device)
    return RolloutBatch(
        observation_TB=torch.randint(0, 256, (*step, 21, 21, 64), dtype=torch.uint8, device=device),
        action_TB=torch.randint(0, NUM_ACTIONS, step, device=device),
        log_prob_TB=torch.full(step, -1.8, device=device),
        value_TB=torch.zeros(step, device=device),
        reward_TB=torch.randn(step, device=device),
        terminated_TB=no,
        truncated_TB=no,
        final_value_TB=torch.zeros(step, device=device),
        next_value_B=torch.zeros(slots, device=device),
        on_policy=True,
    )


def bare_inference(size: int) -> Work:
    pairs = [(_random(rows * size, inputs), _random(inputs, outputs)) for rows, inputs, outputs in PRODUCTS]
    return lambda: [rows @ weights for rows, weights in pairs]


def bare_training(size: int) -> Work:
    """Forward, the gradient of each weight, and that of each input but the first layer's: each the same size."""
    forward = bare_inference(size)
    layers = [
        (
            _random(rows * size, outputs),
            _random(outputs, inputs),
            _random(outputs, rows * size),
            _random(rows * size, inputs),
        )
        for rows, inputs, outputs in PRODUCTS
    ]

    def work() -> None:
        forward()
        for number, (gradient, weights, transposed, rows) in enumerate(layers):
            transposed @ rows
            if number > 0:
                gradient @ weights

    return work


def _random(rows: int, columns: int) -> torch.Tensor:
    return torch.randn(rows, columns).bfloat16()


INFERENCE = {"default": default_inference, "Stepstream": stepstream_inference, "bare products": bare_inference}
TRAINING = {"default": default_training, "Stepstream": stepstream_training, "bare products": bare_training}


def samples_per_second(work: Work, size: int, seconds: float) -> float:
    """`work` takes `size` samples at a time."""
    return size * calls_per_second(work, seconds)


def measure_inference(size: int, seconds: float = 2.0) -> float:
    """Samples a second of the network path that the learner uses."""
    return samples_per_second(stepstream_inference(size), size, seconds)


def measure_training(size: int, seconds: float = 2.0) -> float:
    """Samples a second and epoch of the network path that the learner uses."""
    return samples_per_second(stepstream_training(size), size, seconds)


def table(
    title: str, kinds: dict[str, Callable[[int], Work]], sizes: tuple[int, ...], *, rounds: int, seconds: float
) -> Table:
    rows = []
    for size in sizes:
        works = {name: build(size) for name, build in kinds.items()}
        rates = defaultdict(list)
        for _ in range(rounds):
            for name, work in works.items():
                rates[name].append(samples_per_second(work, size, seconds))
        medians = [statistics.median(rates[name]) for name in kinds]
        rows.append((size, *medians, medians[1] / medians[0], medians[1] / medians[2]))
        print(title, *(f"{cell:,.3g}" for cell in rows[-1]), flush=True)
    return Table(title=title, header=("batch", *kinds, "times default", "of bare products"), rows=rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    rounds, seconds = (1, 0.3) if arguments.quick else (5, 1.0)
    machine = describe_machine()
    torch.set_num_threads(usable_cores())
    keep_freed_memory()
    record = Record(
        name="network",
        title="The image network alone, samples a second",
        settings={"rounds": rounds, "seconds a measurement": seconds, "threads": torch.get_num_threads()},
        machine=machine,
        tables=(
            table("Inference", INFERENCE, INFERENCE_SIZES, rounds=rounds, seconds=seconds),
            table("Training, one epoch", TRAINING, TRAINING_SIZES, rounds=rounds, seconds=seconds),
        ),
    )
    print(record.markdown())
    if not arguments.quick:
        print(record.write())


if __name__ == "__main__":
    main()
