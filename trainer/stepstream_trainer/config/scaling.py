"""Scaling of the learning rate with the batch, common to all algorithms."""

import enum
from typing import Any

from stepstream_trainer.config.fields import spec_field


class LearningRateScaling(enum.StrEnum):
    """How the learning rate follows the batch size, relative to the reference batch size."""

    None_ = "None"
    Sqrt = "Sqrt"
    Linear = "Linear"


def scaling() -> Any:
    return spec_field(
        doc="Multiply the learning rate by the ratio of the batch to referenceBatchSize, by its square root, or not.",
        default=LearningRateScaling.None_,
    )


def reference_batch_size(default: int, *, because: str) -> Any:
    return spec_field(
        doc="Batch size (samples per optimiser step) at which learningRate holds as written.",
        default=default,
        minimum=1,
        maximum=2**24,
        because=because,
    )
