"""Torch's threads: as many as a piece of work may use, and afterwards as many as before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from stepstream_trainer.algorithms.observations import BlockImages, Categories, Images, ObservationSpec, Vectors
from stepstream_trainer.algorithms.threads import learning_threads, limited_threads
from stepstream_trainer.config import LearnerConfig
from stepstream_trainer.learner.groups import acting_threads


@pytest.fixture(autouse=True)
def _three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("most", "within"), [(1, 1), (2, 2), (3, 3), (8, 3), (None, 3)])
def test_fewer_threads_within_and_as_many_as_before_after(most: int | None, within: int) -> None:
    with limited_threads(most):
        assert torch.get_num_threads() == within
    assert torch.get_num_threads() == 3


def test_what_is_raised_within_leaves_as_many_threads_as_before() -> None:
    with pytest.raises(ValueError, match="on the way"), limited_threads(1):
        raise ValueError("on the way")
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize(
    ("groups", "environments", "cores", "threads"),
    [(1, 64, 4, 4), (2, 64, 4, 2), (2, 64, 1, 1), ("Auto", 64, 8, 4), ("Auto", 16, 8, 8)],
)
def test_each_group_is_served_with_its_share_of_the_cores(
    groups: object, environments: int, cores: int, threads: int
) -> None:
    learner = LearnerConfig(environments=environments, groups=groups)  # type: ignore[arg-type]
    assert acting_threads(learner, cores) == threads


@pytest.mark.parametrize(
    ("observation", "threads"),
    [
        (BlockImages(rows=21, columns=21, frames=4), 8),
        (Images(height=10, width=10, channels=4), 8),
        (Vectors(size=4), 1),
        (Categories(count=16), 1),
    ],
)
def test_only_networks_on_images_are_worth_several_threads(observation: ObservationSpec, threads: int) -> None:
    assert learning_threads(observation, 8) == threads
    assert learning_threads(observation, 1) == 1
