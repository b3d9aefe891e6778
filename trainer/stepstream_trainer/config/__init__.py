"""The configuration of a job: definitions, parsing, and the contract of processes with whoever starts them."""

from stepstream_trainer.config.algorithms import (
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
from stepstream_trainer.config.environment import AtariConfig, EnvironmentConfig, RewardClip
from stepstream_trainer.config.errors import ConfigurationErrors, FieldError
from stepstream_trainer.config.parse import parse, to_mapping
from stepstream_trainer.config.trainer import (
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
