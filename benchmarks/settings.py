"""What all programs measured end to end share, besides the Nature network and four stacked 84x84 grey frames."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Horizons in steps for each environment; the minibatch in steps."""

    game: str = "ALE/Pong-v5"
    a2c_horizon: int = 5
    ppo_horizon: int = 128
    ppo_minibatch: int = 512
    ppo_epochs: int = 4


SETTINGS = Settings()
