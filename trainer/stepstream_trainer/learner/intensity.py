"""How often what is collected is learned from, kept exactly: over any number of iterations, and over resumes."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from stepstream_trainer.algorithms.schedules import updates_due
from stepstream_trainer.config import QLearningParameters


@dataclass(slots=True)
class Intensity:
    """What is due is counted from where the replay last began to fill, in exact arithmetic.

    Steps and updates are those of the learners that make every update together: all of a job in mode Sync, or one of
    `apart` that share a store in mode Async.
    """

    parameters: QLearningParameters
    apart: int = 1
    updates: int = 0
    """Made so far."""
    filled_from_steps: int = 0
    """Steps at which the replay was empty."""
    updates_before: int = 0
    """Updates made until then."""

    @property
    def learning_from_steps(self) -> int:
        """Steps at which learning begins, or goes on."""
        return self.filled_from_steps + -(-self.parameters.learning_starts_steps // self.apart)

    @property
    def asked(self) -> float:
        """Times that each step is to be learned from."""
        return self.parameters.training_intensity

    def due(self, steps: int) -> int:
        """Updates that should have been made by `steps`."""
        # The decimal as it was written: binary 0.1 is not a tenth.
        intensity = Fraction(str(self.parameters.training_intensity))
        return self.updates_before + updates_due(
            intensity, steps=steps, learning_starts=self.learning_from_steps, batch_size=self.parameters.batch_size
        )

    def reached(self, steps: int) -> float:
        """Times that each step beyond the first ones was learned from, on average; 0 before there are any."""
        learned_from = steps - self.learning_from_steps
        made = self.updates - self.updates_before
        return made * self.parameters.batch_size / learned_from if learned_from > 0 else 0.0

    def refill(self, steps: int) -> None:
        """The replay is empty again, `steps` on."""
        self.filled_from_steps, self.updates_before = steps, self.updates

    def state_dict(self) -> dict[str, Any]:
        return {
            "updates": self.updates,
            "filled_from_steps": self.filled_from_steps,
            "updates_before": self.updates_before,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.updates = state["updates"]
        self.filled_from_steps, self.updates_before = state["filled_from_steps"], state["updates_before"]
