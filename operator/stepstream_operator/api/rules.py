"""Rules between fields of a TrainingJob's spec, each in Python and in the API server's CEL."""

from typing import Any, Final

from stepstream_trainer.config import DQNParameters, Mode, PPOParameters, QLearningParameters
from stepstream_trainer.config.fields import CrossRule, spec_fields

SHARED: Final = "must be divisible by learners.replicas: in mode Sync the learners divide each batch among them"

_Q_BATCH: Final = DQNParameters().batch_size
"""Of the whole family."""
_PPO_DEFAULTS: Final = {field.name: field.default() for field in spec_fields(PPOParameters) if field.default}


def _minibatches_fill_the_rollout(spec: Any) -> bool:
    parameters = spec.algorithm.parameters
    if not isinstance(parameters, PPOParameters):
        return True
    learners = 1 if spec.mode is Mode.Async else spec.learners.replicas
    return bool(parameters.horizon * spec.learners.environments * learners % parameters.minibatch_size == 0)


def _learners_share_batches(spec: Any, size: int) -> bool:
    """In mode Auto too, since it may become Sync."""
    return bool(spec.mode is Mode.Async or size % spec.learners.replicas == 0)


def _learners_share_minibatches(spec: Any) -> bool:
    parameters = spec.algorithm.parameters
    return not isinstance(parameters, PPOParameters) or _learners_share_batches(spec, parameters.minibatch_size)


def _learners_share_samples(spec: Any) -> bool:
    parameters = spec.algorithm.parameters
    return not isinstance(parameters, QLearningParameters) or _learners_share_batches(spec, parameters.batch_size)


def _simulators_have_slots(spec: Any) -> bool:
    return bool(spec.simulators.replicas <= _slots(spec))


def _bounded_simulators_have_slots(spec: Any) -> bool:
    return (spec.simulators.max_replicas or 0) <= _slots(spec)


def _slots(spec: Any) -> int:
    return int(spec.learners.replicas * spec.learners.environments)


def _cel_parameter(name: str, default: object) -> str:
    return f"self.algorithm.?parameters.?{name}.orValue({default})"


def _divided(field: str, default: object, names: str) -> str:
    """CEL of a batch size that learners divide; APPO is not among the names, because it means mode Async."""
    size = _cel_parameter(field, default)
    return f"self.mode == 'Async' || !(self.algorithm.name in [{names}]) || ({size}) % self.learners.replicas == 0"


TRAINING_RULES: Final = (
    CrossRule(
        field="algorithm.parameters.minibatchSize",
        message="must divide horizon x learners.environments, the samples of a rollout (in mode Sync, of all)",
        holds=_minibatches_fill_the_rollout,
        value=lambda spec: spec.algorithm.parameters.minibatch_size,
        cel="!(self.algorithm.name in ['PPO', 'APPO']) || "
        + f"{_cel_parameter('horizon', _PPO_DEFAULTS['horizon'])} * self.learners.environments * "
        + "(self.mode == 'Async' || self.algorithm.name == 'APPO' ? 1 : self.learners.replicas) % "
        + f"{_cel_parameter('minibatchSize', _PPO_DEFAULTS['minibatch_size'])} == 0",
    ),
    CrossRule(
        field="algorithm.parameters.minibatchSize",
        message=SHARED,
        holds=_learners_share_minibatches,
        value=lambda spec: spec.algorithm.parameters.minibatch_size,
        cel=_divided("minibatchSize", _PPO_DEFAULTS["minibatch_size"], "'PPO'"),
    ),
    CrossRule(
        field="algorithm.parameters.batchSize",
        message=SHARED,
        holds=_learners_share_samples,
        value=lambda spec: spec.algorithm.parameters.batch_size,
        cel=_divided("batchSize", _Q_BATCH, "'DQN', 'CategoricalDQN', 'EpsilonRainbow'"),
    ),
    CrossRule(
        field="checkpoint.includeReplay",
        message="must be false where there are several learners, which fill their replays anew after a resume",
        holds=lambda spec: not spec.checkpoint.include_replay or spec.learners.replicas == 1,
        value=lambda spec: spec.checkpoint.include_replay,
        cel="!self.checkpoint.includeReplay || self.learners.replicas == 1",
    ),
    CrossRule(
        field="simulators.replicas",
        message="must be at most learners.replicas x learners.environments: a simulator without a slot has no work",
        holds=_simulators_have_slots,
        value=lambda spec: spec.simulators.replicas,
        cel="self.simulators.replicas <= self.learners.replicas * self.learners.environments",
    ),
    CrossRule(
        field="simulators.maxReplicas",
        message="must be at most learners.replicas x learners.environments: a simulator without a slot has no work",
        holds=_bounded_simulators_have_slots,
        value=lambda spec: spec.simulators.max_replicas,
        cel="!has(self.simulators.maxReplicas) || "
        "self.simulators.maxReplicas <= self.learners.replicas * self.learners.environments",
    ),
)

SIMULATOR_RULES: Final = (
    CrossRule(
        field="maxReplicas",
        message="must be given together with minReplicas",
        holds=lambda simulators: (simulators.min_replicas is None) == (simulators.max_replicas is None),
        cel="has(self.minReplicas) == has(self.maxReplicas)",
    ),
    CrossRule(
        field="minReplicas",
        message="must be at most maxReplicas",
        holds=lambda simulators: (simulators.min_replicas or 0) <= (simulators.max_replicas or 4096),
        value=lambda simulators: simulators.min_replicas,
        cel="!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
    ),
    CrossRule(
        field="replicas",
        message="must be at least minReplicas",
        holds=lambda simulators: simulators.replicas >= (simulators.min_replicas or 0),
        value=lambda simulators: simulators.replicas,
        cel="!has(self.minReplicas) || self.replicas >= self.minReplicas",
    ),
    CrossRule(
        field="replicas",
        message="must be at most maxReplicas",
        holds=lambda simulators: simulators.replicas <= (simulators.max_replicas or 4096),
        value=lambda simulators: simulators.replicas,
        cel="!has(self.maxReplicas) || self.replicas <= self.maxReplicas",
    ),
)
