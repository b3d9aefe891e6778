"""Q networks: from an observation to each action's value, or to the distribution of its return.

N samples, A actions, K atoms. Images go through the Nature torso (Mnih et al. 2015), vectors and categories through
two rectified layers of 64: units that saturate lose what tells one large value from another. A dueling network (Wang et
al. 2016) reads the advantages and the state's value from features of their own. On images the two layers of features
are the halves of one, so that they cost one product; and the gradient that both send into the convolutions is scaled by
1/sqrt(2) (section 4.2 there).
"""

from __future__ import annotations

import math

import torch
from torch import nn

from .nature import FEATURES, NatureTorso
from .networks import TOWER, FlatNetwork, PlainImageTorso, Read, initialise, reading, tower
from .observations import BlockImages, Images, ObservationSpec
from .precision import Precision

HEAD_GAIN = 0.01
"""Values start near 0, distributions near the uniform one, as policies do (`networks.POLICY_GAIN`)."""
DUELING_GRADIENT_SCALE = 1 / math.sqrt(2)

Features = tuple[torch.Tensor, torch.Tensor]
"""[N, F] each: what advantages and state value are read from; one tensor twice where nothing is dueling."""


class QNetwork(FlatNetwork):
    """`torso` gives `Features`, `head` makes [N, A, K] of them."""

    def __init__(self, torso: nn.Module, head: nn.Module, *, atoms: int) -> None:
        super().__init__(torso)
        self.head = head
        self._atoms = atoms

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """float32: values [N, A] where there is one atom, else the distributions' logits [N, A, K]."""
        output_NAK: torch.Tensor = self.head(*self.torso(observation))
        return output_NAK.squeeze(-1) if self._atoms == 1 else output_NAK


class PlainHead(nn.Module):
    """One linear layer."""

    def __init__(self, num_features: int, num_actions: int, atoms: int) -> None:
        super().__init__()
        self._shape = (num_actions, atoms)
        self.linear = nn.Linear(num_features, num_actions * atoms)

    def forward(self, features: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.linear(features)
        return output.view(-1, *self._shape)


class DuelingHead(nn.Module):
    """Value plus advantage, less the mean advantage: Wang et al. 2016, equation 9, for each atom."""

    def __init__(self, num_features: int, num_actions: int, atoms: int) -> None:
        super().__init__()
        self._shape = (num_actions, atoms)
        self.advantage = nn.Linear(num_features, num_actions * atoms)
        self.value = nn.Linear(num_features, atoms)

    def forward(self, advantage_features: torch.Tensor, value_features: torch.Tensor) -> torch.Tensor:
        advantage_NAK: torch.Tensor = self.advantage(advantage_features).view(-1, *self._shape)
        value_N1K: torch.Tensor = self.value(value_features).unsqueeze(-2)
        return value_N1K + advantage_NAK - advantage_NAK.mean(-2, keepdim=True)


class ImageFeatures(nn.Module):
    """The halves of an image torso's features, or all of them twice."""

    def __init__(self, images: nn.Module, *, dueling: bool) -> None:
        super().__init__()
        self.images = images
        self._dueling = dueling

    def forward(self, observation: torch.Tensor) -> Features:
        features: torch.Tensor = self.images(observation)
        if not self._dueling:
            return features, features
        advantage, value = features.chunk(2, dim=-1)
        return advantage, value


class TowerFeatures(nn.Module):
    """Two rectified layers; with `dueling` two more of the value's own."""

    def __init__(self, num_inputs: int, read: Read, *, dueling: bool) -> None:
        super().__init__()
        self._read = read
        self.advantage = tower(num_inputs, nn.ReLU)
        self.value = tower(num_inputs, nn.ReLU) if dueling else None

    def forward(self, observation: torch.Tensor) -> Features:
        numbers = self._read(observation)
        advantage: torch.Tensor = self.advantage(numbers)
        return advantage, advantage if self.value is None else self.value(numbers)


def build_q_network(
    observation: ObservationSpec, num_actions: int, *, atoms: int, dueling: bool, seed: int, precision: Precision
) -> QNetwork:
    """A network on `precision.device`; the same `seed` gives the same parameters on every device."""
    torso, num_features = _build_torso(observation, precision.dtype, dueling=dueling)
    head = (DuelingHead if dueling else PlainHead)(num_features, num_actions, atoms)
    network = QNetwork(torso, head, atoms=atoms)
    initialise(network, dict.fromkeys(head.children(), HEAD_GAIN), seed)
    network.lay_flat(precision.device)
    return network


def _build_torso(spec: ObservationSpec, dtype: torch.dtype, *, dueling: bool) -> tuple[nn.Module, int]:
    num_features, scale = (2 * FEATURES, DUELING_GRADIENT_SCALE) if dueling else (FEATURES, 1.0)
    match spec:
        case BlockImages():
            nature = NatureTorso(spec, dtype, num_features=num_features, convolution_gradient_scale=scale)
            return ImageFeatures(nature, dueling=dueling), FEATURES
        case Images():
            plain = PlainImageTorso(spec, num_features=num_features, convolution_gradient_scale=scale)
            return ImageFeatures(plain, dueling=dueling), FEATURES
        case _:
            return TowerFeatures(*reading(spec), dueling=dueling), TOWER
