"""What all programs measured end to end share, besides the Nature network and four stacked 84x84 grey frames."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Horizons in steps for each environment; minibatch, batch, replay and start in steps."""

    game: str = "ALE/Pong-v5"
    a2c_horizon: int = 5
    ppo_horizon: int = 128
    ppo_minibatch: int = 512
    ppo_epochs: int = 4
    dqn_batch: int = 32
    dqn_train_every: int = 4
    """Steps, of any environment, between two updates: each step is learned from 32 / 4 = 8 times."""
    dqn_replay: int = 20_000
    dqn_starts: int = 1_000

    @property
    def dqn_intensity(self) -> float:
        return self.dqn_batch / self.dqn_train_every


SETTINGS = Settings()
