"""What is played: one environment's configuration, the same for every slot of a job."""

import enum
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from stepstream_trainer.config.fields import PROBABILITY_PATTERN, CrossRule, JsonValue, spec_field
from stepstream_trainer.config.parse import to_mapping

ATARI_PREFIX: Final = "ALE/"
NATURE: Final = "Mnih et al. 2015, Nature 518, extended data table 1"


class RewardClip(enum.StrEnum):
    """What the learner does to a reward before it learns from it. What is reported is never clipped."""

    Sign = "Sign"
    None_ = "None"


@dataclass(frozen=True, kw_only=True, slots=True)
class AtariConfig:
    """Preprocessing of `ALE/*` environments, done by ale-py's native vector environment."""

    frame_skip: int = spec_field(
        doc="Emulator frames per step; the action is repeated in them.",
        default=4,
        minimum=1,
        maximum=60,
        because=NATURE,
    )
    frame_stack: int = spec_field(
        doc="Newest frames the network sees. They are stacked by the learner; one frame a step travels.",
        default=4,
        minimum=1,
        maximum=16,
        because=NATURE,
    )
    height: int = spec_field(doc="Height of a frame, pixels.", default=84, minimum=36, maximum=256, because=NATURE)
    width: int = spec_field(doc="Width of a frame, pixels.", default=84, minimum=36, maximum=256, because=NATURE)
    grayscale: bool = spec_field(doc="One luminance channel instead of three colours.", default=True, because=NATURE)
    max_pool: bool = spec_field(
        doc="Take the pixel-wise maximum of a step's last two frames, so that flickering sprites are seen.",
        default=True,
        because=NATURE,
    )
    noop_max: int = spec_field(
        doc="An episode starts with 0 to this many no-op actions, drawn from its seed.",
        default=30,
        minimum=0,
        maximum=1000,
        because=NATURE,
    )
    sticky_action_probability: str = spec_field(
        doc="Probability that the emulator repeats the previous action; a decimal in quotes. "
        'Machado et al. 2018 recommend "0.25".',
        default="0",
        pattern=PROBABILITY_PATTERN,
        means='a decimal number from 0 to 1 in quotes, such as "0.25"',
        max_length=32,
        because="Stooke & Abbeel 2018 train without sticky actions",
    )
    terminal_on_life_loss: bool = spec_field(
        doc="A lost life ends the return that is learned from. The game goes on; scores are of whole games.",
        default=True,
        because="Stooke & Abbeel 2018, after Mnih et al. 2015",
    )
    fire_reset: bool = spec_field(
        doc="Press FIRE at the start of an episode, in games that wait for it.",
        default=True,
        because="usual since OpenAI Baselines; without it agents must first find out how to begin",
    )
    reward_clip: RewardClip = spec_field(
        doc="Learn from the sign of the reward, or from the reward as it is. Scores reported are never clipped.",
        default=RewardClip.Sign,
        because=NATURE,
    )
    max_episode_steps: int = spec_field(
        doc="Steps after which an episode is truncated.",
        default=27_000,
        minimum=1,
        maximum=10**9,
        because="108,000 frames, 30 minutes of play: the cap of Stooke & Abbeel 2018 and of published scores",
    )

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Of one frame, uint8: height and width, and three colours unless it is grayscale."""
        return (self.height, self.width) if self.grayscale else (self.height, self.width, 3)


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentConfig:
    """Which environment is played, and how it is made."""

    CROSS_RULES: ClassVar[tuple[CrossRule, ...]] = (
        CrossRule(
            field="atari",
            message="belongs to ALE/* environments only; remove it, or choose an id such as ALE/Pong-v5",
            holds=lambda environment: environment.is_atari or environment.atari == AtariConfig(),
            cel="!has(self.atari) || (self.id.startsWith('ALE/') && !has(self.entryPoint))",
        ),
    )

    id: str = spec_field(
        doc="Gymnasium id, such as ALE/Pong-v5 or CartPole-v1. ALE/* runs in ale-py's native vector environment.",
        pattern=r"^[A-Za-z0-9_.:-]+(/[A-Za-z0-9_.:-]+)?$",
        means="a Gymnasium id such as ALE/Pong-v5 or CartPole-v1",
        max_length=128,
        example="ALE/Pong-v5",
    )
    kwargs: Mapping[str, JsonValue] = spec_field(
        doc="Keyword arguments of the environment's constructor.", default_factory=dict
    )
    entry_point: str | None = spec_field(
        doc="`module:Class` of an environment in your own image; `id` is then only its name.",
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*$",
        means="module:Class, such as my_package.envs:Maze",
    )
    deterministic: bool | None = spec_field(
        doc="Whether a seed and the actions determine an episode. Then a lost simulator's episodes are rebuilt by "
        "replaying them; otherwise they are cut there.",
        default=None,
        derived_default="true for ALE/*, else false",
    )
    atari: AtariConfig = spec_field(
        doc="Preprocessing of ALE/* environments.",
        default_factory=AtariConfig,
        derived_default="the defaults of its fields; refused beside other ids",
    )

    @property
    def is_atari(self) -> bool:
        return self.id.startswith(ATARI_PREFIX) and self.entry_point is None

    @property
    def is_deterministic(self) -> bool:
        return self.is_atari if self.deterministic is None else self.deterministic

    @property
    def frame_skip(self) -> int:
        """Frames per step; 1 where the environment knows no frames."""
        return self.atari.frame_skip if self.is_atari else 1

    def digest(self) -> str:
        """SHA-256, hexadecimal, of the configuration: equal where both ends would build the same environment."""
        canonical = json.dumps(to_mapping(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()
