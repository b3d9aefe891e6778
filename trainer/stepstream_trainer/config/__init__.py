"""The configuration of a job: definitions, parsing, and the contract of processes with whoever starts them."""

from .algorithms import (
    ASYNC_NAMES,
    PARAMETERS,
    A2CParameters,
    AlgorithmConfig,
    AlgorithmName,
    CategoricalDQNParameters,
    DQNParameters,
    EpsilonRainbowParameters,
    LearningRateScaling,
    Parameters,
    PPOParameters,
)
from .environment import AtariConfig, EnvironmentConfig, RewardClip
from .errors import ConfigurationErrors, FieldError
from .parse import parse, to_mapping
from .trainer import (
    CheckpointConfig,
    EvaluationConfig,
    LearnerConfig,
    Mode,
    Precision,
    SimulatorsConfig,
    StopWhenConfig,
    TrainerConfig,
    TrainingConfig,
    dump,
    load_trainer_config,
)

__all__ = [
    "ASYNC_NAMES",
    "PARAMETERS",
    "A2CParameters",
    "AlgorithmConfig",
    "AlgorithmName",
    "AtariConfig",
    "CategoricalDQNParameters",
    "CheckpointConfig",
    "ConfigurationErrors",
    "DQNParameters",
    "EnvironmentConfig",
    "EpsilonRainbowParameters",
    "EvaluationConfig",
    "FieldError",
    "LearnerConfig",
    "LearningRateScaling",
    "Mode",
    "PPOParameters",
    "Parameters",
    "Precision",
    "RewardClip",
    "SimulatorsConfig",
    "StopWhenConfig",
    "TrainerConfig",
    "TrainingConfig",
    "dump",
    "load_trainer_config",
    "parse",
    "to_mapping",
]
