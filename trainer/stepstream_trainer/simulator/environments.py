"""Batches of environments as simulators step them, whatever makes them.

Nothing resets by itself: who steps a batch sees every episode's last observation, and begins the next episode
explicitly with the seed it must have.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from stepstream_trainer.config import EnvironmentConfig
from stepstream_trainer.rows import Array, Spaces

Mask = NDArray[np.bool_]

ANY_EPISODE: Final = -1
"""In a seed's place: whatever episode is next."""


class EnvironmentRefusedError(Exception):
    """An environment that cannot be made, or is of a kind that is not supported; one sentence for a person."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What n actions led to. The batch keeps no hold of the arrays."""

    observation: Array
    """[n, *shape]; of an ended episode, its last."""
    reward: NDArray[np.float32]
    """[n], as the environment gave it."""
    terminated: Mask
    truncated: Mask
    """Never together with `terminated`: an end that is both is a terminal state."""
    life_lost: Mask
    """In an episode that goes on."""


class EnvironmentBatch(Protocol):
    """n environments of one kind."""

    spaces: Spaces
    episodes_per_seed: int
    """Episodes that follow from one seed, if only their number is told, and not how they were played."""

    def reset(self, mask: Mask, seeds: NDArray[np.int64], numbers: NDArray[np.int64] | int = 0) -> Array:
        """Begin episodes in the k environments of `mask` [n]; the first call must be for all of them.

        Begun are the `numbers`-th [k] episodes, 0 to `episodes_per_seed` - 1, after a reset with `seeds` [k], each of
        which may be ANY_EPISODE. Gives all observations [n, *shape].
        """

    def step(self, action: NDArray[np.int32]) -> Step:
        """One action [n] each. Environments whose episode has ended must have been reset."""

    def close(self) -> None: ...


def make_batch(config: EnvironmentConfig, size: int) -> EnvironmentBatch:
    """`size` environments. Raises EnvironmentRefusedError. Imports the library it needs, and only that."""
    if config.is_atari:
        from stepstream_trainer.simulator.atari import AtariBatch

        return AtariBatch(config, size)
    from stepstream_trainer.simulator.gymnasium_envs import GymnasiumBatch

    return GymnasiumBatch(config, size)
