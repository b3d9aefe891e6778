"""When a process that died is started again: at once after a long life, later and later after short ones."""

from dataclasses import dataclass

FIRST_SECONDS = 0.1
FACTOR = 2.0
LONGEST_SECONDS = 5.0  # a lost simulator is to be replaced within five seconds, the fiftieth time too
SOUND_LIFE_SECONDS = 10.0  # who lived this long did not die of how it was started


@dataclass(frozen=True, kw_only=True, slots=True)
class Backoff:
    """Deaths in a row that followed a short life."""

    short_lives: int = 0

    def after(self, lived_seconds: float) -> "Backoff":
        return Backoff(short_lives=0 if lived_seconds >= SOUND_LIFE_SECONDS else self.short_lives + 1)

    def delay_seconds(self, jitter: float) -> float:
        """`jitter` in [0, 1) spreads starts over the upper half of the delay, so that many do not come at once."""
        longest = min(LONGEST_SECONDS, FIRST_SECONDS * FACTOR ** max(0, self.short_lives - 1))
        return longest * (0.5 + 0.5 * jitter)
