"""How long a simulator waits before it looks for its learner again."""

import random
from typing import Final

FIRST_RETRY_SECONDS: Final = 0.1
LAST_RETRY_SECONDS: Final = 10.0
"""Between attempts to reach a learner: at first often, since it is usually just starting; never given up."""


class Backoff:
    """Twice as long each time, and up to half of it less by chance: simulators lose a learner all at once."""

    def __init__(self, generator: random.Random) -> None:
        self._random = generator
        self._seconds = FIRST_RETRY_SECONDS

    def begin_anew(self) -> None:
        """There was a learner."""
        self._seconds = FIRST_RETRY_SECONDS

    def next_seconds(self) -> float:
        seconds = self._seconds * self._random.uniform(0.5, 1.0)
        self._seconds = min(LAST_RETRY_SECONDS, 2 * self._seconds)
        return seconds
