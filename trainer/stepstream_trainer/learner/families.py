"""The two families of algorithms: which network each trains, and how it gathers and learns.

This and `playing.py` are where one family is told from the other; whatever drives them knows `Experience` alone.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stepstream_trainer.algorithms.descent import SharedStore
from stepstream_trainer.algorithms.networks import ActorCritic, FlatNetwork, build_actor_critic
from stepstream_trainer.algorithms.policy import Policy
from stepstream_trainer.algorithms.precision import Precision, choose_precision
from stepstream_trainer.algorithms.q_learning import QUpdate, descent_of, network_of, objective_of
from stepstream_trainer.algorithms.q_networks import QNetwork
from stepstream_trainer.algorithms.q_policy import QPolicy
from stepstream_trainer.algorithms.together import Together
from stepstream_trainer.config import Mode, PolicyGradientParameters, QLearningParameters, TrainerConfig
from stepstream_trainer.cores import usable_cores
from stepstream_trainer.learner.acting import Actor, Copy
from stepstream_trainer.learner.experience import Experience
from stepstream_trainer.learner.gathering import Gatherer
from stepstream_trainer.learner.groups import acting_threads
from stepstream_trainer.learner.metrics import LearnerMetrics
from stepstream_trainer.learner.observing import Observing, observing
from stepstream_trainer.learner.optimiser import build_update
from stepstream_trainer.learner.replay_experience import ReplayExperience, ReplayParts
from stepstream_trainer.learner.replay_files import ReplayFiles
from stepstream_trainer.learner.rollout_experience import RolloutExperience
from stepstream_trainer.learner.rollouts import Rollout
from stepstream_trainer.learner.stints import Stint
from stepstream_trainer.logs import get_log
from stepstream_trainer.replay import (
    FrameLayout,
    PriorityOptions,
    Replay,
    ReplayOptions,
    place_frames,
    refuse_too_small,
    replay_bytes,
)

_log = get_log("replay")


@dataclass(frozen=True, kw_only=True, slots=True)
class Learning:
    """What is trained, and what trains it."""

    network: FlatNetwork
    experience: Experience[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ground:
    """What learning is built on: the job, its environments, the device, and where things are told and kept."""

    config: TrainerConfig
    gatherer: Gatherer
    seen: Observing
    precision: Precision
    metrics: LearnerMetrics
    checkpoints: Path
    """Their directory."""
    rank: int
    together: Together
    """The learners that step alike."""
    store: SharedStore | None
    """Whose parameters the learner shares with others that step apart."""
    closing: ExitStack

    @property
    def num_actions(self) -> int:
        return self.gatherer.slots.spaces.num_actions

    @property
    def acts_apart(self) -> bool:
        """Whether acting may ever go on while the network learns: then it needs memory and a network of its own."""
        return self.config.mode is not Mode.Sync

    @property
    def apart(self) -> int:
        """Learners that share the store; 1 where there is none."""
        return self.config.learner.replicas if self.store is not None else 1

    @property
    def memories(self) -> int:
        """One iteration that is collected, and one that is learned from."""
        return 2 if self.acts_apart else 1


def build_learning(ground: Ground) -> Learning:
    """For the job's algorithm. Raises ReplayTooLargeError or ReplayTooSmallError."""
    parameters = ground.config.algorithm.parameters
    if isinstance(parameters, PolicyGradientParameters):
        return _rollouts(ground, parameters)
    return _replay(ground, parameters)


def refuse_replay(config: TrainerConfig) -> None:
    """Raises what `build_learning` would raise of a replay, where the job alone says what observations are like."""
    parameters, environment = config.algorithm.parameters, config.environment
    if not environment.is_atari or not isinstance(parameters, QLearningParameters):
        return
    shape, dtype = environment.atari.frame_shape, np.dtype(np.uint8)
    seen = observing(environment, shape, dtype, num_categories=0)
    layout = FrameLayout(frame_shape=shape, dtype=dtype, network_input=seen.network_input)
    options = replay_options(config, parameters)
    refuse_too_small(options, layout)
    place_frames(options, layout, choose_precision(config.learner.precision).device)


def replay_options(config: TrainerConfig, parameters: QLearningParameters, *, rank: int = 0) -> ReplayOptions:
    """Of one learner: its share of the job's capacity, and samples of its own."""
    return ReplayOptions(
        capacity_steps=-(-parameters.replay_capacity_steps // config.learner.replicas),
        num_slots=config.learner.environments,
        n_step=parameters.n_step,
        discount=parameters.discount,
        seed=config.seed + (rank << 32),
        priority=PriorityOptions(exponent=parameters.priority_exponent) if parameters.prioritized else None,
    )


def _rollouts(ground: Ground, parameters: PolicyGradientParameters) -> Learning:
    config, seen, precision = ground.config, ground.seen, ground.precision
    most_threads = acting_threads(config.learner, usable_cores())

    def build() -> tuple[ActorCritic, Policy]:
        network = build_actor_critic(seen.network_input, ground.num_actions, seed=config.seed, precision=precision)
        return network, Policy(network, precision, most_threads=most_threads)

    (network, policy), copy = build(), None
    if ground.acts_apart:
        acting, acting_policy = build()
        copy = Copy(policy=acting_policy, flat=acting.flat, learning=network.flat)
    rollouts = [
        Rollout(
            horizon=parameters.horizon,
            num_slots=config.learner.environments,
            shape=seen.stack.stacked_shape,
            dtype=seen.dtype,
            device=precision.device,
        )
        for _ in range(ground.memories)
    ]
    update = build_update(
        parameters, network, precision, seed=config.seed, together=ground.together, store=ground.store
    )
    actor = Actor(policy, copy)
    return Learning(
        network=network, experience=RolloutExperience(ground.gatherer, rollouts, actor, update, seed=config.seed)
    )


def _replay(ground: Ground, parameters: QLearningParameters) -> Learning:
    config, seen, precision = ground.config, ground.seen, ground.precision
    most_threads = acting_threads(config.learner, usable_cores())
    objective = objective_of(parameters, precision.device)

    def build() -> QNetwork:
        return network_of(parameters, seen.network_input, ground.num_actions, seed=config.seed, precision=precision)

    def acting_by(network: QNetwork) -> QPolicy:
        return QPolicy(network, precision, support_K=objective.support_K, most_threads=most_threads)

    network, target, copy = build(), build(), None
    if ground.acts_apart:
        acting = build()
        copy = Copy(policy=acting_by(acting), flat=acting.flat, learning=network.flat)
    descent = descent_of(parameters, network, ground.together, ground.store)
    slots, replay = ground.gatherer.slots, _build_replay(ground, parameters)
    parts = ReplayParts(
        gatherer=ground.gatherer,
        stints=[
            Stint(slots, shape=seen.stack.stacked_shape, dtype=seen.dtype, device=precision.device)
            for _ in range(ground.memories)
        ],
        replay=replay,
        actor=Actor(acting_by(network), copy),
        update=QUpdate(network, target, parameters, objective, descent, precision),
        metrics=ground.metrics,
        together=ground.together,
        files=_replay_files(ground, replay) if config.checkpoint.include_replay else None,
    )
    num_slots = slots.num_slots * config.learner.replicas
    experience = ReplayExperience(parts, parameters, seed=config.seed, num_slots=num_slots, apart=ground.apart)
    return Learning(network=network, experience=experience)


def _replay_files(ground: Ground, replay: Replay) -> ReplayFiles:
    files = ReplayFiles(replay, ground.checkpoints)
    ground.closing.callback(files.close)
    return files


def _build_replay(ground: Ground, parameters: QLearningParameters) -> Replay:
    spaces, device = ground.gatherer.slots.spaces, ground.precision.device
    layout = FrameLayout(frame_shape=spaces.shape, dtype=spaces.dtype, network_input=ground.seen.network_input)
    options = replay_options(ground.config, parameters, rank=ground.rank)
    place = place_frames(options, layout, device)
    size = replay_bytes(options, layout)
    _log.info("replay", capacity_steps=options.capacity_steps, bytes=size, frames_on=str(place))
    return Replay(options, layout, device=device, frames_device=place)
