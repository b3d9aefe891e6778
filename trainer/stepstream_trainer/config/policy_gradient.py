"""Parameters of A2C and PPO. Defaults without another source are those of Stooke & Abbeel 2018's released code."""

from dataclasses import dataclass
from typing import Any

from stepstream_trainer.config.fields import spec_field
from stepstream_trainer.config.scaling import LearningRateScaling, reference_batch_size, scaling

A2C_BATCH = "16 environments x horizon 5, as the paper timed A2C"


def learning_rate(default: float, *, because: str) -> Any:
    return spec_field(
        doc="Step size of the optimiser.",
        default=default,
        minimum=0,
        exclusive_minimum=True,
        maximum=10,
        because=because,
    )


def discount() -> Any:
    return spec_field(doc="Discount of a step's future (gamma).", default=0.99, minimum=0, maximum=1)


def gae_lambda(default: float) -> Any:
    return spec_field(
        doc="Lambda of generalised advantage estimation (Schulman et al. 2016); 1 is the plain n-step return.",
        default=default,
        minimum=0,
        maximum=1,
    )


def coefficient(doc: str, default: float, because: str = "") -> Any:
    return spec_field(doc=doc, default=default, minimum=0, maximum=1000, because=because)


def max_grad_norm(default: float = 0.5) -> Any:
    return spec_field(
        doc="Gradients are scaled down to at most this global norm.",
        default=default,
        minimum=0,
        exclusive_minimum=True,
        maximum=1e9,
    )


def horizon(default: int) -> Any:
    return spec_field(doc="Steps of each environment in one rollout (T).", default=default, minimum=1, maximum=65_536)


def anneal(doc: str) -> Any:
    return spec_field(doc=doc, default=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class A2CParameters:
    """Advantage actor-critic (Mnih et al. 2016) on batches of rollouts; one update a rollout, RMSProp."""

    learning_rate: float = learning_rate(7e-4, because="Mnih et al. 2016")
    anneal: bool = anneal("Let the learning rate fall linearly to 0 over totalSteps.")
    horizon: int = horizon(5)
    discount: float = discount()
    gae_lambda: float = gae_lambda(1.0)
    normalize_advantages: bool = spec_field(
        doc="Shift and scale a batch's advantages to mean 0 and deviation 1.", default=False
    )
    entropy_coefficient: float = coefficient("Weight of the entropy bonus.", 0.01)
    value_coefficient: float = coefficient("Weight of the value loss.", 0.25)
    max_grad_norm: float = max_grad_norm()
    rms_rho: float = spec_field(
        doc="RMSProp's decay of squared gradients.", default=0.9, minimum=0, exclusive_minimum=True, maximum=0.99999
    )
    rms_epsilon: float = spec_field(
        doc="RMSProp's epsilon, inside the square root.", default=1e-6, minimum=0, exclusive_minimum=True, maximum=1
    )
    learning_rate_scaling: LearningRateScaling = scaling()
    reference_batch_size: int = reference_batch_size(80, because=A2C_BATCH)


@dataclass(frozen=True, kw_only=True, slots=True)
class PPOParameters:
    """Proximal policy optimisation (Schulman et al. 2017), clipped surrogate, Adam."""

    learning_rate: float = learning_rate(2.5e-4, because="Schulman et al. 2017, table 5; the paper's code uses 1e-3")
    anneal: bool = anneal("Let the learning rate and the clip range fall linearly to 0 over totalSteps.")
    horizon: int = horizon(128)
    epochs: int = spec_field(doc="Passes over each rollout.", default=4, minimum=1, maximum=1000)
    minibatch_size: int = spec_field(
        doc="Samples per optimiser step. It must divide horizon x environments, of all learners in mode Sync.",
        default=512,
        minimum=1,
        maximum=2**24,
    )
    discount: float = discount()
    gae_lambda: float = gae_lambda(0.95)
    normalize_advantages: bool = spec_field(
        doc="Shift and scale a minibatch's advantages to mean 0 and deviation 1.", default=True
    )
    clip_range: float = spec_field(
        doc="The probability ratio is clipped to 1 +- this.",
        default=0.1,
        minimum=0,
        exclusive_minimum=True,
        maximum=10,
        because="Schulman et al. 2017, table 5 (Atari)",
    )
    entropy_coefficient: float = coefficient("Weight of the entropy bonus.", 0.01)
    value_coefficient: float = coefficient("Weight of the value loss.", 0.5, because="OpenAI Baselines' ppo2")
    max_grad_norm: float = max_grad_norm()
    adam_epsilon: float = spec_field(
        doc="Adam's epsilon.",
        default=1e-5,
        minimum=0,
        exclusive_minimum=True,
        maximum=1,
        because="OpenAI Baselines' ppo2",
    )
    target_kl: float = spec_field(
        doc="After each epoch, multiply or divide the learning rate by 1.5 if it moved the policy by less than half or "
        "more than twice this (mean KL divergence, nats). 0 leaves the learning rate to its schedule.",
        default=0.0,
        minimum=0,
        maximum=10,
        because="a fixed learning rate is what the paper has",
    )
    learning_rate_scaling: LearningRateScaling = scaling()
    reference_batch_size: int = reference_batch_size(512, because="the default minibatch")
