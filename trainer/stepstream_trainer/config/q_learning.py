"""Parameters of the Q-learning family: DQN, CategoricalDQN (C51) and EpsilonRainbow (Rainbow without NoisyNets).

Where no other source is named, defaults are those of Stooke & Abbeel 2018's released code.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from stepstream_trainer.config.fields import MAX_STEPS, CrossRule, spec_field
from stepstream_trainer.config.policy_gradient import coefficient, discount, learning_rate, max_grad_norm
from stepstream_trainer.config.scaling import LearningRateScaling, reference_batch_size, scaling

BELLEMARE = "Bellemare et al. 2017"
HESSEL = "Hessel et al. 2018"
PAPER_BATCH = "the batch for which the learning rate was published"


def batch_size() -> Any:
    return spec_field(
        doc="Samples per optimiser step. The paper's large batches: 512 to 2048.", default=32, minimum=1, maximum=65_536
    )


def n_step(default: int) -> Any:
    return spec_field(doc="Steps of reward before the target bootstraps.", default=default, minimum=1, maximum=100)


def option(doc: str, default: bool) -> Any:
    return spec_field(doc=doc, default=default)


def double(default: bool) -> Any:
    return option("Double Q-learning (van Hasselt et al. 2016).", default)


def dueling(default: bool) -> Any:
    return option("Dueling heads (Wang et al. 2016).", default)


def prioritized(default: bool) -> Any:
    return option("Prioritised replay (Schaul et al. 2016).", default)


def steps(doc: str, default: int, because: str = "", *, minimum: int = 1) -> Any:
    return spec_field(doc=doc, default=default, minimum=minimum, maximum=MAX_STEPS, because=because)


def target_update(default: int) -> Any:
    return steps("Steps between copies of the parameters to the target network.", default)


def learning_starts(default: int) -> Any:
    return steps("Steps collected before the first update.", default, minimum=0)


def probability(doc: str, default: float, because: str = "") -> Any:
    return spec_field(doc=doc, default=default, minimum=0, maximum=1, because=because)


def final_epsilon(default: float) -> Any:
    return probability("Probability of a random action after epsilonDecaySteps; it starts at 1.", default)


def lowest_final_epsilon() -> Any:
    return spec_field(
        doc="Spread the environments' final epsilons, at equal ratios, from finalEpsilon down to this.",
        default=None,
        minimum=0,
        exclusive_minimum=True,
        maximum=1,
    )


def epsilon_decay(default: int) -> Any:
    return steps("Steps over which the probability of a random action falls linearly.", default)


def evaluation_epsilon(default: float) -> Any:
    return probability("Probability of a random action in evaluations.", default)


def priority_exponent(default: float) -> Any:
    return probability("Alpha of prioritised replay: 0 samples uniformly.", default)


def importance_exponent() -> Any:
    return probability("Beta of prioritised replay at the start; it rises linearly to 1 over totalSteps.", 0.4)


def replay_capacity() -> Any:
    return spec_field(doc="Steps kept in replay; frames are stored once.", default=1_000_000, minimum=1, maximum=10**9)


def training_intensity() -> Any:
    return spec_field(
        doc="Times each step is learned from on average: updates = this x steps / batchSize.",
        default=8.0,
        minimum=0,
        exclusive_minimum=True,
        maximum=1000,
        because="Mnih et al. 2015: a batch of 32 every 4 steps",
    )


def adam_epsilon(default: float) -> Any:
    return spec_field(
        doc="Adam's epsilon is this divided by batchSize.",
        default=default,
        minimum=0,
        exclusive_minimum=True,
        maximum=10,
    )


def atoms() -> Any:
    return spec_field(doc="Atoms of the return distribution.", default=51, minimum=2, maximum=1001, because=BELLEMARE)


def support(doc: str, default: float) -> Any:
    return spec_field(doc=doc, default=default, minimum=-1e9, maximum=1e9, because=BELLEMARE)


SUPPORT_RULE = CrossRule(
    field="valueMaximum",
    message="must be above valueMinimum",
    holds=lambda parameters: parameters.value_minimum < parameters.value_maximum,
    value=lambda parameters: parameters.value_maximum,
    cel="self.?valueMinimum.orValue(-10.0) < self.?valueMaximum.orValue(10.0)",
)


def _replay_rules(*, learning_starts: int, final_epsilon: float) -> tuple[CrossRule, ...]:
    """Between the fields that all of the family share; the arguments are the defaults in which they differ."""
    capacity = "self.?replayCapacitySteps.orValue(1000000)"
    return (
        CrossRule(
            field="batchSize",
            message="must be at most replayCapacitySteps",
            holds=lambda parameters: parameters.batch_size <= parameters.replay_capacity_steps,
            value=lambda parameters: parameters.batch_size,
            cel=f"self.?batchSize.orValue(32) <= {capacity}",
        ),
        CrossRule(
            field="learningStartsSteps",
            message="must be at most replayCapacitySteps",
            holds=lambda parameters: parameters.learning_starts_steps <= parameters.replay_capacity_steps,
            value=lambda parameters: parameters.learning_starts_steps,
            cel=f"self.?learningStartsSteps.orValue({learning_starts}) <= {capacity}",
        ),
        CrossRule(
            field="lowestFinalEpsilon",
            message="must be at most finalEpsilon",
            holds=lambda parameters: (parameters.lowest_final_epsilon or 0.0) <= parameters.final_epsilon,
            value=lambda parameters: parameters.lowest_final_epsilon,
            cel=f"self.?lowestFinalEpsilon.orValue(0.0) <= self.?finalEpsilon.orValue({final_epsilon})",
        ),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class DQNParameters:
    """Deep Q-network (Mnih et al. 2015), Huber loss, RMSProp."""

    CROSS_RULES: ClassVar[tuple[CrossRule, ...]] = _replay_rules(learning_starts=50_000, final_epsilon=0.1)

    learning_rate: float = learning_rate(2.5e-4, because="Mnih et al. 2015")
    batch_size: int = batch_size()
    discount: float = discount()
    n_step: int = n_step(1)
    double: bool = double(False)
    dueling: bool = dueling(False)
    prioritized: bool = prioritized(False)
    priority_exponent: float = priority_exponent(0.6)
    importance_exponent: float = importance_exponent()
    target_update_steps: int = target_update(10_000)
    learning_starts_steps: int = learning_starts(50_000)
    replay_capacity_steps: int = replay_capacity()
    training_intensity: float = training_intensity()
    final_epsilon: float = final_epsilon(0.1)
    lowest_final_epsilon: float | None = lowest_final_epsilon()
    epsilon_decay_steps: int = epsilon_decay(1_000_000)
    evaluation_epsilon: float = evaluation_epsilon(0.05)
    huber_delta: float = coefficient("Errors above this count linearly.", 1.0)
    max_grad_norm: float = max_grad_norm(10.0)
    rms_rho: float = spec_field(
        doc="RMSProp's decay of squared gradients.", default=0.95, minimum=0, exclusive_minimum=True, maximum=0.99999
    )
    rms_epsilon: float = spec_field(
        doc="RMSProp's epsilon, inside the square root.", default=1e-6, minimum=0, exclusive_minimum=True, maximum=1
    )
    learning_rate_scaling: LearningRateScaling = scaling()
    reference_batch_size: int = reference_batch_size(32, because=PAPER_BATCH)


@dataclass(frozen=True, kw_only=True, slots=True)
class CategoricalDQNParameters:
    """Distributional Q-learning with fixed atoms (C51, Bellemare et al. 2017), Adam."""

    CROSS_RULES: ClassVar[tuple[CrossRule, ...]] = (
        *_replay_rules(learning_starts=50_000, final_epsilon=0.01),
        SUPPORT_RULE,
    )

    learning_rate: float = learning_rate(2.5e-4, because=BELLEMARE)
    batch_size: int = batch_size()
    discount: float = discount()
    n_step: int = n_step(1)
    double: bool = double(False)
    dueling: bool = dueling(False)
    prioritized: bool = prioritized(False)
    priority_exponent: float = priority_exponent(0.6)
    importance_exponent: float = importance_exponent()
    target_update_steps: int = target_update(10_000)
    learning_starts_steps: int = learning_starts(50_000)
    replay_capacity_steps: int = replay_capacity()
    training_intensity: float = training_intensity()
    final_epsilon: float = final_epsilon(0.01)
    lowest_final_epsilon: float | None = lowest_final_epsilon()
    epsilon_decay_steps: int = epsilon_decay(1_000_000)
    evaluation_epsilon: float = evaluation_epsilon(0.001)
    atoms: int = atoms()
    value_minimum: float = support("Lowest return the distribution can hold.", -10.0)
    value_maximum: float = support("Highest return the distribution can hold.", 10.0)
    max_grad_norm: float = max_grad_norm(10.0)
    adam_epsilon: float = adam_epsilon(0.01)
    learning_rate_scaling: LearningRateScaling = scaling()
    reference_batch_size: int = reference_batch_size(32, because=PAPER_BATCH)


@dataclass(frozen=True, kw_only=True, slots=True)
class EpsilonRainbowParameters:
    """Rainbow (Hessel et al. 2018) with epsilon-greedy exploration instead of noisy layers, Adam."""

    CROSS_RULES: ClassVar[tuple[CrossRule, ...]] = (
        *_replay_rules(learning_starts=20_000, final_epsilon=0.01),
        SUPPORT_RULE,
    )

    learning_rate: float = learning_rate(6.25e-5, because=HESSEL)
    batch_size: int = batch_size()
    discount: float = discount()
    n_step: int = n_step(3)
    double: bool = double(True)
    dueling: bool = dueling(True)
    prioritized: bool = prioritized(True)
    priority_exponent: float = priority_exponent(0.5)
    importance_exponent: float = importance_exponent()
    target_update_steps: int = target_update(8_000)
    learning_starts_steps: int = learning_starts(20_000)
    replay_capacity_steps: int = replay_capacity()
    training_intensity: float = training_intensity()
    final_epsilon: float = final_epsilon(0.01)
    lowest_final_epsilon: float | None = lowest_final_epsilon()
    epsilon_decay_steps: int = epsilon_decay(62_500)
    evaluation_epsilon: float = evaluation_epsilon(0.001)
    atoms: int = atoms()
    value_minimum: float = support("Lowest return the distribution can hold.", -10.0)
    value_maximum: float = support("Highest return the distribution can hold.", 10.0)
    max_grad_norm: float = max_grad_norm(10.0)
    adam_epsilon: float = adam_epsilon(0.005)
    learning_rate_scaling: LearningRateScaling = scaling()
    reference_batch_size: int = reference_batch_size(32, because=PAPER_BATCH)
