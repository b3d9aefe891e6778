"""Which algorithm learns, and with which parameters."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from stepstream_trainer.config.fields import spec_field
from stepstream_trainer.config.policy_gradient import A2CParameters, PPOParameters
from stepstream_trainer.config.q_learning import CategoricalDQNParameters, DQNParameters, EpsilonRainbowParameters
from stepstream_trainer.config.scaling import LearningRateScaling


class AlgorithmName(enum.StrEnum):
    """The algorithms of Stooke & Abbeel 2018, without the mode that their names there imply."""

    A2C = "A2C"
    PPO = "PPO"
    DQN = "DQN"
    CategoricalDQN = "CategoricalDQN"
    EpsilonRainbow = "EpsilonRainbow"


ASYNC_NAMES: Final[Mapping[str, str]] = {"A3C": "A2C", "APPO": "PPO"}
"""The paper's names for the asynchronous variants; they imply mode Async."""

PolicyGradientParameters = A2CParameters | PPOParameters
CategoricalParameters = CategoricalDQNParameters | EpsilonRainbowParameters
QLearningParameters = DQNParameters | CategoricalParameters
Parameters = PolicyGradientParameters | QLearningParameters

PARAMETERS: Final[Mapping[str, type]] = {
    AlgorithmName.A2C: A2CParameters,
    AlgorithmName.PPO: PPOParameters,
    AlgorithmName.DQN: DQNParameters,
    AlgorithmName.CategoricalDQN: CategoricalDQNParameters,
    AlgorithmName.EpsilonRainbow: EpsilonRainbowParameters,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class AlgorithmConfig:
    """An algorithm and its parameters; `parameters` is of the class that `name` stands for."""

    name: AlgorithmName = spec_field(
        doc="The algorithm. A3C and APPO mean A2C and PPO with mode Async.", aliases=ASYNC_NAMES, example="PPO"
    )
    parameters: Parameters = spec_field(
        doc="Parameters of the algorithm; those of another one are refused.", variant_key="name", variants=PARAMETERS
    )


__all__ = [
    "ASYNC_NAMES",
    "PARAMETERS",
    "A2CParameters",
    "AlgorithmConfig",
    "AlgorithmName",
    "CategoricalDQNParameters",
    "CategoricalParameters",
    "DQNParameters",
    "EpsilonRainbowParameters",
    "LearningRateScaling",
    "PPOParameters",
    "Parameters",
    "PolicyGradientParameters",
    "QLearningParameters",
]
