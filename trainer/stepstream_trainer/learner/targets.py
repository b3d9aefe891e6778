"""When a job is done: its step budget and its wanted return, which may be changed while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from stepstream_trainer.config import ConfigurationErrors, TrainerConfig, load_trainer_config
from stepstream_trainer.learner.recent_episodes import RecentEpisodes
from stepstream_trainer.logs import get_log

_log = get_log("targets")

REREAD_SECONDS = 5.0
"""The kubelet itself takes up to a minute to bring a changed ConfigMap to a pod."""


class Targets:
    """Reads the configuration again when its file changes, and takes totalSteps and stopWhen from it."""

    def __init__(
        self,
        path: Path,
        config: TrainerConfig,
        *,
        changed: Callable[[TrainerConfig], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`changed` is told of each new configuration, for what others than this take from it."""
        self._path = path
        self._config = config
        self._changed = changed
        self._clock = clock
        self._read_at = clock()
        self._version: tuple[int, int] | None = None
        """Unknown: the file may have changed since `config` was read from it, while simulators were waited for."""

    @property
    def total_steps(self) -> int:
        return self._config.total_steps

    def met(self, steps: int, recent: RecentEpisodes) -> bool:
        """Whether the budget is spent, or the mean return of a full window of episodes is reached."""
        return steps >= self._config.total_steps or self._return_reached(recent)

    def _return_reached(self, recent: RecentEpisodes) -> bool:
        wanted = self._config.stop_when
        if wanted is None or not recent.full or recent.mean_return is None:
            return False
        return recent.mean_return >= float(wanted.mean_return)

    def follow(self) -> None:
        """Read the configuration again, if it is time and its file has changed."""
        if self._clock() - self._read_at < REREAD_SECONDS:
            return
        self._read_at = self._clock()
        try:
            version = self._file_version()
            if version == self._version:
                return
            self._version, before = version, self._config
            self._config = load_trainer_config(self._path)
        except (OSError, ConfigurationErrors) as error:
            _log.error("configuration_ignored", path=self._path, reason=error)
            return
        if self._config != before:
            self._changed(self._config)

    def _file_version(self) -> tuple[int, int]:
        status = self._path.stat()
        return status.st_mtime_ns, status.st_ino
