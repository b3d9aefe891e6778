"""The last N finished episodes: what "mean return" means wherever Stepstream says it."""

import threading
from collections import deque
from collections.abc import Iterable


class RecentEpisodes:
    """True returns and lengths of the last `size` episodes (stopWhen.episodes). One thread adds, any thread reads."""

    def __init__(self, size: int) -> None:
        self._returns: deque[float] = deque(maxlen=size)
        self._lengths: deque[int] = deque(maxlen=size)
        self._lock = threading.Lock()

    def add(self, returns: Iterable[float], lengths: Iterable[int]) -> None:
        with self._lock:
            self._returns.extend(returns)
            self._lengths.extend(lengths)

    @property
    def full(self) -> bool:
        """Whether `size` episodes have ended: stopWhen.meanReturn is not judged on fewer."""
        return len(self._returns) == self._returns.maxlen

    @property
    def mean_return(self) -> float | None:
        return self._mean(self._returns)

    @property
    def mean_length(self) -> float | None:
        """Steps."""
        return self._mean(self._lengths)

    def state_dict(self) -> dict[str, list[float] | list[int]]:
        """For checkpoints, so that a resumed job judges stopWhen as if it had never stopped."""
        with self._lock:
            return {"returns": list(self._returns), "lengths": list(self._lengths)}

    def load_state_dict(self, state: dict[str, list[float] | list[int]]) -> None:
        self._returns.clear()
        self._lengths.clear()
        self.add(state["returns"], (int(length) for length in state["lengths"]))

    def _mean(self, values: deque[float] | deque[int]) -> float | None:
        with self._lock:
            return sum(values) / len(values) if values else None
