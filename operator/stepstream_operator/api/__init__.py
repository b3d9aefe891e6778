"""The TrainingJob API: types, parsing, and what is generated from them."""

from stepstream_operator.api.load import load_job, parse_job
from stepstream_operator.api.types import (
    API_VERSION,
    GROUP,
    KIND,
    MANAGED_BY,
    MAX_NAME_LENGTH,
    PLURAL,
    VERSION,
    CheckpointSpec,
    CleanupPolicy,
    LearnersSpec,
    Metadata,
    Resources,
    SimulatorsSpec,
    TemplateOverlay,
    TrainingJob,
    TrainingJobSpec,
    VolumeSpec,
)

__all__ = [
    "API_VERSION",
    "GROUP",
    "KIND",
    "MANAGED_BY",
    "MAX_NAME_LENGTH",
    "PLURAL",
    "VERSION",
    "CheckpointSpec",
    "CleanupPolicy",
    "LearnersSpec",
    "Metadata",
    "Resources",
    "SimulatorsSpec",
    "TemplateOverlay",
    "TrainingJob",
    "TrainingJobSpec",
    "VolumeSpec",
    "load_job",
    "parse_job",
]
