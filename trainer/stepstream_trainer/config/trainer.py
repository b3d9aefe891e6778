"""Everything a learner and a simulator of one job need to know. It reaches them as one JSON file, job.json."""

import enum
import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from stepstream_trainer.config.algorithms import AlgorithmConfig
from stepstream_trainer.config.environment import EnvironmentConfig
from stepstream_trainer.config.errors import ConfigurationErrors, FieldError
from stepstream_trainer.config.fields import DECIMAL_PATTERN, MAX_INT32, MAX_STEPS, CrossRule, spec_field
from stepstream_trainer.config.parse import parse, to_mapping

DNS_LABEL_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_LABEL_MEANS = "lower-case letters, digits and '-', starting and ending with a letter or digit"


class Mode(enum.StrEnum):
    """Whether learners wait for one another, and for the rollout of the newest parameters."""

    Auto = "Auto"
    Sync = "Sync"
    Async = "Async"


class Precision(enum.StrEnum):
    """Number format of the network's arithmetic. Parameters and losses are always Float32."""

    Auto = "Auto"
    Float32 = "Float32"
    BFloat16 = "BFloat16"


@dataclass(frozen=True, kw_only=True, slots=True)
class StopWhenConfig:
    """An agent that is good enough ends the job before totalSteps do."""

    mean_return: str = spec_field(
        doc="The job is complete when the mean true return of the last `episodes` episodes reaches this; "
        'a decimal number in quotes, such as "18".',
        pattern=DECIMAL_PATTERN,
        means='a decimal number in quotes, such as "18" or "-0.5"',
        max_length=32,
        example='"18"',
    )
    episodes: int = spec_field(
        doc="Number of latest episodes that the mean is taken over.", default=100, minimum=1, maximum=100_000
    )

    @property
    def mean_return_value(self) -> float:
        return float(self.mean_return)


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnerConfig:
    """The learners' part of the work."""

    CROSS_RULES: ClassVar[tuple[CrossRule, ...]] = (
        CrossRule(
            field="environments",
            message="must be divisible by groups",
            holds=lambda learner: learner.groups == "Auto" or learner.environments % learner.groups == 0,
            value=lambda learner: learner.environments,
            cel="self.groups != 2 || self.environments % 2 == 0",
        ),
    )

    replicas: int = spec_field(
        doc="Number of learners. Each owns one device, one copy of the network and `environments` slots.",
        default=1,
        minimum=1,
        maximum=512,
        immutable=True,
    )
    environments: int = spec_field(
        doc="Environment slots per learner, hence the size of its batches. Simulators share them.",
        default=64,
        minimum=1,
        maximum=65_536,
        immutable=True,
        because="small batches waste the learner: one of 16 infers at half the rate of one of 512",
    )
    groups: Literal["Auto", 1, 2] = spec_field(
        doc="Groups that the slots alternate in: while one steps, the other is served. Auto: 2 from "
        "64 environments on, else 1.",
        default="Auto",
        immutable=True,
    )
    precision: Precision = spec_field(
        doc="Number format of the network's arithmetic. Auto: BFloat16 where the device is fast at it.",
        default=Precision.Auto,
        immutable=True,
    )
    max_policy_lag: int = spec_field(
        doc="Updates that a learner's parameters may be behind those of the store in mode Async before it pulls; "
        "bounds how old the policy is that a gradient is made of.",
        default=16,
        minimum=1,
        maximum=MAX_INT32,
        immutable=True,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulatorsConfig:
    """The simulators' part of the work."""

    replicas: int = spec_field(
        doc="Number of simulators. They share all learners' slots, best evenly; it may change at any time.",
        default=8,
        minimum=1,
        maximum=4096,
        because="8 environments per simulator with the default 64",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointConfig:
    """When checkpoints are written, and what they hold."""

    interval_seconds: int = spec_field(
        doc="Seconds between checkpoints. One is written at the end and on SIGTERM, too.",
        default=300,
        minimum=1,
        maximum=86_400,
        because="five minutes of work is what a lost node may cost",
    )
    retain: int = spec_field(doc="Newest checkpoints that are kept.", default=3, minimum=1, maximum=1000)
    include_replay: bool = spec_field(
        doc="Save the replay memory, too (Q-learning, one learner): a resumed run goes on exactly. Otherwise it first "
        "fills a new one to learningStartsSteps.",
        default=False,
        because="a replay of 1,000,000 frames takes 7 GB for each checkpoint that is retained",
    )
    resume: bool = spec_field(
        doc="Start from the newest whole checkpoint where there is one. Where false, every life of a learner begins "
        "anew, also after a drain, a crash or a suspend.",
        default=True,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig:
    """Whole greedy games played beside the training, which does not wait for them."""

    interval_steps: int = spec_field(
        doc="Steps between evaluations; 0 for none. One plays at a time.", default=0, minimum=0, maximum=MAX_STEPS
    )
    episodes: int = spec_field(doc="Episodes per evaluation.", default=10, minimum=1, maximum=10_000)
    record_video: bool = spec_field(doc="Keep a video of an evaluation's first episode.", default=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """What is trained: the fields that a TrainingJob's spec and job.json have in common."""

    environment: EnvironmentConfig = spec_field(doc="The environment that is played.", immutable=True)
    algorithm: AlgorithmConfig = spec_field(doc="The algorithm that learns, and its parameters.", immutable=True)
    mode: Mode = spec_field(
        doc="Sync: learners wait for one another, and rollouts are made by the newest parameters; reproducible bit for "
        "bit. Async: no one waits. Auto: both are measured, then one is chosen; "
        "several learners stay in step then, and each collects ahead or not.",
        default=Mode.Auto,
        immutable=True,
    )
    total_steps: int = spec_field(
        doc="Budget in steps (one action in one environment).",
        default=50_000_000,
        minimum=1,
        maximum=MAX_STEPS,
        because="200 million Atari frames, the budget of the paper and of most published scores",
    )
    stop_when: StopWhenConfig | None = spec_field(doc="What ends the job before totalSteps do.", default=None)
    seed: int = spec_field(
        doc="All randomness of the job derives from it.", default=0, minimum=0, maximum=MAX_INT32, immutable=True
    )
    evaluation: EvaluationConfig = spec_field(
        doc="Whole greedy games during the run, by a checkpoint of every `intervalSteps`.",
        default_factory=EvaluationConfig,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainerConfig(TrainingConfig):
    """The whole of job.json. Learners follow changes of `total_steps`, `stop_when` and `simulators` while they run."""

    job: str = spec_field(doc="Name of the job.", max_length=40, pattern=DNS_LABEL_PATTERN, means=DNS_LABEL_MEANS)
    namespace: str = spec_field(
        doc="Namespace of the job.",
        default="default",
        max_length=63,
        pattern=DNS_LABEL_PATTERN,
        means=DNS_LABEL_MEANS,
    )
    learner: LearnerConfig = spec_field(
        doc="The learners: processes that own a device and the network.", default_factory=LearnerConfig
    )
    simulators: SimulatorsConfig = spec_field(
        doc="The simulators: processes that step environments and own no network.", default_factory=SimulatorsConfig
    )
    checkpoint: CheckpointConfig = spec_field(
        doc="When checkpoints are written, and what they hold.", default_factory=CheckpointConfig
    )


def dump(config: TrainerConfig) -> str:
    """The text of job.json: every field written out, in a fixed order."""
    return json.dumps(to_mapping(config), indent=2) + "\n"


def load_trainer_config(path: str | Path) -> TrainerConfig:
    """Read job.json. Raises `ConfigurationErrors` for what does not parse, `OSError` for what cannot be read."""
    try:
        given = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigurationErrors([FieldError(path=str(path), problem=f"is not JSON: {error}")]) from error
    return parse(TrainerConfig, given, path="")
