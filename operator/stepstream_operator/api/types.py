"""TrainingJob as users write it: the fields of the spec beyond those that the trainer itself reads."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from stepstream_operator.api.rules import SIMULATOR_RULES, TRAINING_RULES
from stepstream_trainer.config import CheckpointConfig, LearnerConfig, SimulatorsConfig, TrainingConfig
from stepstream_trainer.config.fields import MAX_INT32, CrossRule, JsonValue, Quantity, spec_field

GROUP: Final = "stepstream.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "TrainingJob"
PLURAL: Final = "trainingjobs"
MANAGED_BY: Final = f"{GROUP}/operator"
"""The value of spec.managedBy that means this operator; an absent one means it, too."""

MAX_NAME_LENGTH: Final = 40
"""A learner's host name, `<job>-learner-<rank>`, and a label's value both end at 63 characters."""

JOB_NAME_PATTERN: Final = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
"""DNS-1035, because the name starts the names of Services."""


class ImagePullPolicy(enum.StrEnum):
    Always = "Always"
    IfNotPresent = "IfNotPresent"
    Never = "Never"


class CleanupPolicy(enum.StrEnum):
    """What is removed when a job has finished."""

    Running = "Running"
    All = "All"
    None_ = "None"


class AccessMode(enum.StrEnum):
    ReadWriteOnce = "ReadWriteOnce"
    ReadWriteMany = "ReadWriteMany"
    ReadWriteOncePod = "ReadWriteOncePod"


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """A container's resources, as in a pod."""

    requests: Mapping[str, Quantity] = spec_field(
        doc="What is reserved, by resource name (cpu, memory, nvidia.com/gpu, ...).", default_factory=dict
    )
    limits: Mapping[str, Quantity] = spec_field(
        doc="What may be used at most, by resource name. Accelerators belong here.", default_factory=dict
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class TemplateMetadata:
    """Labels and annotations of pods."""

    labels: Mapping[str, str] = spec_field(doc="Labels added to the pods.", default_factory=dict, max_length=63)
    annotations: Mapping[str, str] = spec_field(
        doc="Annotations added to the pods.", default_factory=dict, max_length=4096
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class TemplateOverlay:
    """What is laid over the pod template that the operator makes."""

    metadata: TemplateMetadata = spec_field(doc="Metadata of the pods.", default_factory=TemplateMetadata)
    spec: Mapping[str, JsonValue] = spec_field(
        doc="Fields of a pod's spec. Objects are merged; containers, volumes, variables, mounts and ports are told "
        "apart by name, path or number; other lists replace the operator's.",
        default_factory=dict,
    )


def template_field(container: str) -> TemplateOverlay:
    return spec_field(  # type: ignore[no-any-return]
        doc=f"Laid over the pod template that the operator makes; the container is named `{container}`.",
        default_factory=TemplateOverlay,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class LearnersSpec(LearnerConfig):
    """The learners: processes that own a device and the network."""

    resources: Resources = spec_field(doc="Resources of each learner.", default_factory=Resources)
    template: TemplateOverlay = template_field("learner")


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulatorsSpec(SimulatorsConfig):
    """The simulators: processes that step environments."""

    CROSS_RULES: ClassVar[tuple[CrossRule, ...]] = SIMULATOR_RULES

    min_replicas: int | None = spec_field(
        doc="With maxReplicas: the operator scales within the two, by what learners and simulators wait for.",
        default=None,
        minimum=1,
        maximum=4096,
    )
    max_replicas: int | None = spec_field(
        doc="With minReplicas: the operator scales within the two.", default=None, minimum=1, maximum=4096
    )
    resources: Resources = spec_field(doc="Resources of each simulator.", default_factory=Resources)
    template: TemplateOverlay = template_field("simulator")

    @property
    def scaled_by_operator(self) -> bool:
        return self.min_replicas is not None and self.max_replicas is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimTemplate:
    """A claim made for the job, and deleted with it."""

    size: Quantity = spec_field(doc="Size of the volume.", example="10Gi")
    storage_class_name: str | None = spec_field(
        doc="Storage class.", default=None, derived_default="the cluster's default class"
    )
    access_modes: tuple[AccessMode, ...] = spec_field(
        doc="Access modes.", default=(AccessMode.ReadWriteOnce,), max_items=3
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class VolumeSpec:
    """Where checkpoints, metrics and videos are kept: exactly one of the three."""

    CROSS_RULES: ClassVar[tuple[CrossRule, ...]] = (
        CrossRule(
            field="",
            message="must have exactly one of claimName, claimTemplate and source",
            holds=lambda volume: [volume.claim_name, volume.claim_template, volume.source].count(None) == 2,
            cel="[has(self.claimName), has(self.claimTemplate), has(self.source)].filter(given, given).size() == 1",
        ),
    )

    claim_name: str | None = spec_field(
        doc="Name of a PersistentVolumeClaim in the job's namespace. It outlives the job.", default=None
    )
    claim_template: ClaimTemplate | None = spec_field(
        doc="A claim made for the job; it is deleted together with the job.", default=None
    )
    source: Mapping[str, JsonValue] | None = spec_field(
        doc="Any volume source of a pod, such as `{nfs: {server: files, path: /runs}}`.", default=None, max_items=1
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointSpec(CheckpointConfig):
    """Checkpoints, and the volume they are kept on."""

    volume: VolumeSpec | None = spec_field(
        doc="The volume for checkpoints, metrics and videos; each job has its own directory on it.",
        default=None,
        derived_default="an emptyDir: what a job learnt is lost with its pod",
        immutable=True,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class SecretReference:
    """A Secret in the job's namespace."""

    name: str = spec_field(doc="Name of the Secret.")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingJobSpec(TrainingConfig):
    """What to train, on what, for how long."""

    CROSS_RULES: ClassVar[tuple[CrossRule, ...]] = TRAINING_RULES

    learners: LearnersSpec = spec_field(
        doc="The learners: processes that own a device and the network.", default_factory=LearnersSpec
    )
    simulators: SimulatorsSpec = spec_field(
        doc="The simulators: processes that step environments on CPUs and own no network.",
        default_factory=SimulatorsSpec,
    )
    checkpoint: CheckpointSpec = spec_field(
        doc="When checkpoints are written, what they hold, and where they are kept.", default_factory=CheckpointSpec
    )
    image: str | None = spec_field(
        doc="Image of learners and simulators. Another one is for the next attempt.",
        default=None,
        max_length=512,
        derived_default="the chart's learner and simulator images",
    )
    image_pull_policy: ImagePullPolicy | None = spec_field(
        doc="When the image is pulled.", default=None, derived_default="as Kubernetes decides by the image's tag"
    )
    image_pull_secrets: tuple[SecretReference, ...] = spec_field(
        doc="Secrets to pull the image with.", default=(), list_key="name"
    )
    suspend: bool = spec_field(
        doc="While true, no pod of the job runs. Learners write a checkpoint first, and go on from it.", default=False
    )
    managed_by: str | None = spec_field(
        doc=f"Who reconciles the job. Anything but `{MANAGED_BY}` makes this operator keep its hands off.",
        default=None,
        max_length=63,
        pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
        means=f"a domain-prefixed name such as {MANAGED_BY}",
        derived_default="this operator",
        immutable=True,
    )
    backoff_limit: int = spec_field(
        doc="Failures of learners after which the job fails. Preempted and drained pods never count.",
        default=3,
        minimum=0,
        maximum=1000,
    )
    active_deadline_seconds: int | None = spec_field(
        doc="Seconds from its start, resume or admission after which the job fails, as a Job's.",
        default=None,
        minimum=1,
        maximum=MAX_INT32,
        derived_default="none",
    )
    pending_deadline_seconds: int | None = spec_field(
        doc="Seconds after which the job fails when its learners have not run by then.",
        default=None,
        minimum=1,
        maximum=MAX_INT32,
        derived_default="none",
    )
    ttl_seconds_after_finished: int | None = spec_field(
        doc="Seconds after which a finished job is deleted.",
        default=None,
        minimum=0,
        maximum=MAX_INT32,
        derived_default="never",
    )
    cleanup_policy: CleanupPolicy = spec_field(
        doc="What is removed when the job has finished. Running: the simulators; learners' pods and logs stay. "
        "All: all pods. None: nothing.",
        default=CleanupPolicy.Running,
    )

    @property
    def is_ours(self) -> bool:
        return self.managed_by in (None, MANAGED_BY)


@dataclass(frozen=True, kw_only=True, slots=True)
class Metadata:
    """What the operator reads of a job's metadata."""

    name: str = spec_field(
        doc="Name of the job.",
        max_length=MAX_NAME_LENGTH,
        pattern=JOB_NAME_PATTERN,
        means="lower-case letters, digits and '-', starting with a letter and not ending with '-'",
        example="pong",
    )
    namespace: str = spec_field(doc="Namespace of the job.", default="default", max_length=63)
    labels: Mapping[str, str] = spec_field(doc="Labels.", default_factory=dict, max_length=63, max_items=1000)
    annotations: Mapping[str, str] = spec_field(
        doc="Annotations.", default_factory=dict, max_length=262_144, max_items=1000
    )
    uid: str = spec_field(doc="Set by the API server.", default="")
    generation: int = spec_field(doc="Set by the API server: rises with every change of the spec.", default=0)
    creation_timestamp: str | None = spec_field(doc="Set by the API server; RFC 3339.", default=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingJob:
    """One job: parsed, complete, and right as far as can be told without running it."""

    metadata: Metadata
    spec: TrainingJobSpec

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace
