"""Actor-critic networks: what reads an observation and gives an action's logits and the state's value.

N samples, A actions. Images go through the Nature torso (Mnih et al. 2015); vectors and categories through two layers
of 64 with tanh, one tower each for policy and value (Schulman et al. 2017, section 6.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.nn import functional

from .flat import FlatParameters
from .nature import FEATURES, PIXEL_SCALE, NatureTorso
from .observations import BlockImages, Categories, Images, ObservationSpec, Vectors
from .precision import Precision

TOWER = 64
HIDDEN_GAIN = math.sqrt(2)
POLICY_GAIN = 0.01
VALUE_GAIN = 1.0
"""Gains of the orthogonal initialisation: Engstrom et al. 2020, "Implementation matters in deep policy gradients"."""


class FlatNetwork(nn.Module):
    """A network whose parameters lie in one buffer, with what is derived from them.

    To learn: `clear_gradients()`, one forward and one backward pass, then a step on `flat.gradients`.
    """

    def __init__(self, torso: nn.Module) -> None:
        super().__init__()
        self.torso = torso
        self.flat: FlatParameters
        self._accumulated: list[torch.Tensor] = []
        self._nature: list[NatureTorso] = [module for module in torso.modules() if isinstance(module, NatureTorso)]

    def lay_flat(self, device: torch.device) -> None:
        """Move the parameters to `device`, into `flat`. Once, before the first use."""
        self.flat = FlatParameters(self, device)
        overwritten: set[nn.Parameter] = set()
        for torso in self._nature:
            torso.bind(self.flat)
            overwritten.update(torso.parameters())
        self._accumulated = [p.grad for p in self.parameters() if p not in overwritten and p.grad is not None]

    def refresh(self) -> None:
        """Bring what is derived from the parameters up to date: before a recorded graph of the network is replayed."""
        for torso in self._nature:
            torso.refresh()

    def clear_gradients(self) -> None:
        """Zero what a backward pass adds to; what it overwrites stays."""
        torch._foreach_zero_(self._accumulated)


class ActorCritic(FlatNetwork):
    """`torso` gives the features [N, F] of the policy and of the value, which may be one tensor."""

    def __init__(self, torso: nn.Module, num_features: int, num_actions: int) -> None:
        super().__init__(torso)
        self.policy = nn.Linear(num_features, num_actions)
        self.value = nn.Linear(num_features, 1)

    def forward(self, observation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits [N, A] and values [N], float32."""
        policy_features, value_features = self.torso(observation)
        return self.policy(policy_features), self.value(value_features).squeeze(-1)


Read = Callable[[torch.Tensor], torch.Tensor]
"""Makes float32 [N, num_inputs] of an observation."""


class Towers(nn.Module):
    """Two tanh layers for the policy and two for the value."""

    def __init__(self, num_inputs: int, read: Read) -> None:
        super().__init__()
        self._read = read
        self.policy = tower(num_inputs)
        self.value = tower(num_inputs)

    def forward(self, observation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        numbers = self._read(observation)
        return self.policy(numbers), self.value(numbers)


class SharedTorso(nn.Module):
    """One tensor of features for policy and value alike."""

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features

    def forward(self, observation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.features(observation)
        return features, features


class PlainImageTorso(nn.Module):
    """The Nature network as torch has it, for images that blocks do not fit. float32."""

    def __init__(self, spec: Images, *, num_features: int = FEATURES, convolution_gradient_scale: float = 1.0) -> None:
        super().__init__()
        self._convolution_gradient_scale = convolution_gradient_scale
        self.convolutions = nn.Sequential(
            nn.Conv2d(spec.channels, 32, 8, stride=4),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, stride=2),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3),
            nn.ReLU(),
        )
        with torch.no_grad():
            blank = torch.zeros(1, spec.channels, spec.height, spec.width)
            num_flat = self.convolutions(blank).numel()
        self.linear = nn.Linear(num_flat, num_features)

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        images = observation.permute(0, 3, 1, 2).float() * PIXEL_SCALE
        convolved = self.convolutions(images)
        if convolved.requires_grad and self._convolution_gradient_scale != 1.0:
            convolved.register_hook(lambda gradient: gradient * self._convolution_gradient_scale)
        return functional.relu(self.linear(convolved.permute(0, 2, 3, 1).flatten(1)))


def build_actor_critic(
    observation: ObservationSpec, num_actions: int, *, seed: int, precision: Precision
) -> ActorCritic:
    """A network on `precision.device`; the same `seed` gives the same parameters on every device."""
    torso, num_features = _build_torso(observation, precision.dtype)
    network = ActorCritic(torso, num_features, num_actions)
    initialise(network, {network.policy: POLICY_GAIN, network.value: VALUE_GAIN}, seed)
    network.lay_flat(precision.device)
    return network


def _build_torso(spec: ObservationSpec, dtype: torch.dtype) -> tuple[nn.Module, int]:
    match spec:
        case BlockImages():
            return SharedTorso(NatureTorso(spec, dtype)), FEATURES
        case Images():
            return SharedTorso(PlainImageTorso(spec)), FEATURES
        case Vectors() | Categories():
            return Towers(*reading(spec)), TOWER


def reading(spec: Vectors | Categories) -> tuple[int, Read]:
    """The numbers that a tower reads of an observation: how many, and how they are made."""
    if isinstance(spec, Vectors):
        return spec.size, _read_vectors
    return spec.count, lambda observation: _read_categories(observation, spec.count)


def tower(num_inputs: int, unit: Callable[[], nn.Module] = nn.Tanh) -> nn.Sequential:
    return nn.Sequential(nn.Linear(num_inputs, TOWER), unit(), nn.Linear(TOWER, TOWER), unit())


def _read_vectors(observation: torch.Tensor) -> torch.Tensor:
    return observation.flatten(1).float()


def _read_categories(observation: torch.Tensor, count: int) -> torch.Tensor:
    return functional.one_hot(observation.reshape(observation.shape[0]).long(), count).float()


def initialise(network: nn.Module, head_gains: Mapping[nn.Module, float], seed: int) -> None:
    """Orthogonal weights (Saxe et al. 2013), biases zero."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.orthogonal_(module.weight, head_gains.get(module, HIDDEN_GAIN), generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
