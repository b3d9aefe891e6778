"""One run's directory: what lies where, who may use it, and what the last runner left in it.

job.yaml          the job as it ran last, every field written out
config/job.json   what learner and simulators read
checkpoints/ metrics.jsonl tensorboard/     the learner's; of several, rank 0's
rank-<r>/         what the learner of another rank writes alone
logs/<process>.log
state.json        the job's status as in a cluster, written before it is acted on, so that a killed runner loses no
                  count of attempts and restarts; and where its sockets were
.lock             held by the one runner that is at work here; the kernel lets go of it however the runner ends
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from stepstream_operator.api import API_VERSION, KIND, TrainingJob, load_job
from stepstream_operator.api.status_types import JobStatus
from stepstream_operator.status import previous_status
from stepstream_trainer.config import ConfigurationErrors, to_mapping


class RunDirectoryError(Exception):
    """The directory cannot be used for this run; the message is one sentence for a person."""


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Paths of a run. `path` is absolute, because processes of another working directory read it."""

    path: Path
    shown: str = field(default="", compare=False)
    """The path as the user wrote it, for messages."""

    @property
    def job_file(self) -> Path:
        return self.path / "job.yaml"

    @property
    def config_directory(self) -> Path:
        return self.path / "config"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def log(self, process: str) -> Path:
        return self.logs / f"{process}.log"

    @property
    def _state_file(self) -> Path:
        return self.path / "state.json"

    def holds_a_run(self) -> bool:
        return self.job_file.exists()

    def is_free(self) -> bool:
        """Nothing is here, or an empty directory, or what a refused run left. Raises RunDirectoryError."""
        try:
            return not self.path.exists() or not any(entry.name != ".lock" for entry in self.path.iterdir())
        except OSError as error:
            raise RunDirectoryError(f"{self.shown}: cannot hold a run: {error.strerror}; take a directory") from error

    def job(self) -> TrainingJob:
        """The job that ran here. Raises RunDirectoryError."""
        try:
            return load_job(self.job_file)
        except ConfigurationErrors as errors:
            raise RunDirectoryError(f"{self.shown}: its job.yaml cannot be read any more: {errors}") from errors

    def save_job(self, job: TrainingJob) -> None:
        write_atomically(self.job_file, yaml.safe_dump(manifest(job), sort_keys=False, allow_unicode=True))

    def status(self) -> JobStatus:
        """As the last runner left it; an empty one where there is none. Raises RunDirectoryError."""
        try:
            return previous_status(self._state())
        except ConfigurationErrors as errors:
            raise self._damaged(errors) from errors

    def save_status(self, status: JobStatus) -> None:
        self._save_state({**self._state(), "status": to_mapping(status)})

    def sockets(self) -> str:
        """The directory of sockets that the last runner noted, which it left behind if it was killed."""
        return str(self._state().get("sockets", ""))

    def save_sockets(self, path: str) -> None:
        self._save_state({**self._state(), "sockets": path})

    def _state(self) -> dict[str, Any]:
        try:
            state = json.loads(self._state_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise self._damaged(error) from error
        if not isinstance(state, dict):
            raise self._damaged("it is not an object")
        return state

    def _save_state(self, state: dict[str, Any]) -> None:
        write_atomically(self._state_file, json.dumps(state, indent=1) + "\n")

    def _damaged(self, reason: object) -> RunDirectoryError:
        return RunDirectoryError(f"{self.shown}: state.json is damaged ({reason}); delete it to go on")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Make the directory if need be, and keep others out. RunDirectoryError when somebody is at work here."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise RunDirectoryError(f"{self.shown}: cannot be written to: {error.strerror}") from error
        try:
            _take(descriptor, self.shown)
            yield
        finally:
            os.close(descriptor)

    def check_unused(self) -> None:
        """RunDirectoryError when somebody is at work here. Makes nothing."""
        if (self.path / ".lock").exists():
            with self.lock():
                pass

    def move_aside(self) -> Path:
        """Free the path for a fresh run: the old one stays beside it, under the first free number."""
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}.{number}")).exists():
            number += 1
        self.path.rename(aside)
        return aside


def manifest(job: TrainingJob) -> dict[str, object]:
    """The job as YAML holds it, every field written out."""
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": to_mapping(job.metadata), "spec": to_mapping(job.spec)}


def write_atomically(path: Path, text: str) -> None:
    """All of it or what was there before, however we die."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def _take(descriptor: int, shown: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
        raise RunDirectoryError(
            f"{shown}: in use by another stepstream run (process {holder}); stop it, or give --run-dir another path"
        ) from None
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
