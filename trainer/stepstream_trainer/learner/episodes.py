"""True returns and lengths of the episodes that slots are playing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepstream_trainer.learner.recent_episodes import RecentEpisodes


class EpisodeTracker:
    """Sums each slot's unclipped rewards until its episode ends. For who collects; any thread reads what is public.

    `window` is the number of most recent episodes that a mean return is taken over. A learner of a rank above 0 `tells`
    of its own, and rank 0 adds those of the others.
    """

    def __init__(self, num_slots: int, window: int, *, tells: bool = False) -> None:
        self._tells = tells
        self._news: list[tuple[float, int]] = []
        self.finished = 0
        self.recent = RecentEpisodes(window)
        self._return_B = np.zeros(num_slots, np.float64)
        self._length_B = np.zeros(num_slots, np.int64)

    def record(
        self, slots: slice, reward_n: NDArray[np.float32], ended_n: NDArray[np.bool_], cut_n: NDArray[np.bool_]
    ) -> tuple[list[float], list[int]]:
        """Add one step of `slots`; give the returns and the lengths (steps) of the episodes that ended with it.

        One that was cut because its simulator was lost is forgotten: nobody knows how it would have ended.
        """
        self._return_B[slots] += reward_n
        self._length_B[slots] += 1
        if not ended_n.any():
            return [], []
        whole = slots.start + np.flatnonzero(ended_n & ~cut_n)
        returns, lengths = self._return_B[whole].tolist(), self._length_B[whole].tolist()
        ended = slots.start + np.flatnonzero(ended_n)
        self._return_B[ended] = 0.0
        self._length_B[ended] = 0
        self.finished += len(whole)
        self.recent.add(returns, lengths)
        if self._tells:
            self._news += zip(returns, lengths, strict=True)
        return returns, lengths

    def take_news(self) -> tuple[list[float], list[int]]:
        """Returns and lengths of the episodes that have ended since this was last called."""
        count = len(self._news)
        news, self._news[:count] = self._news[:count], []
        return [each[0] for each in news], [each[1] for each in news]

    def add_others(self, returns: Sequence[float], lengths: Sequence[int]) -> None:
        """Episodes of other learners."""
        self.finished += len(returns)
        self.recent.add(returns, lengths)

    def state_dict(self) -> dict[str, Any]:
        return {
            "finished": self.finished,
            "recent": self.recent.state_dict(),
            "return_B": self._return_B.copy(),
            "length_B": self._length_B.copy(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.finished = state["finished"]
        self.recent.load_state_dict(state["recent"])
        self._return_B[:] = state["return_B"]
        self._length_B[:] = state["length_B"]
