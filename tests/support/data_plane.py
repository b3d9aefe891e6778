"""The data plane without a learner's loop: a real StreamServer, real simulator processes, and a fixed policy."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np

from stepstream_trainer.config import TrainerConfig, contract, dump, parse
from stepstream_trainer.learner.homing import Homing
from stepstream_trainer.learner.ingest import StreamServer
from stepstream_trainer.learner.slots import TRUNCATED, Slots

PATIENCE_SECONDS = 120.0
"""Longer than any of this takes, also on a busy machine."""

CARTPOLE = {"id": "CartPole-v1", "deterministic": True}
PONG = {"id": "ALE/Pong-v5", "atari": {"stickyActionProbability": "0.25", "maxEpisodeSteps": 40}}


def config_of(
    environment: dict[str, Any],
    *,
    environments: int = 8,
    groups: int = 2,
    simulators: int = 1,
    seed: int = 3,
    learners: int = 1,
) -> TrainerConfig:
    return parse(
        TrainerConfig,
        {
            "job": "test",
            "seed": seed,
            "environment": environment,
            "algorithm": {"name": "PPO"},
            "learner": {"environments": environments, "groups": groups, "replicas": learners},
            "simulators": {"replicas": simulators},
        },
        path="",
    )


@dataclass(kw_only=True, slots=True)
class Counts:
    """A metrics facade that counts."""

    refused: list[str] = field(default_factory=list)
    replayed_steps: int = 0
    leases: int = 0
    differing: int = 0
    streams: int = 0
    slot_wait_seconds: float = 0.0
    turns: dict[str, int] = field(default_factory=dict)

    def leases_stand(self, *, leased: int, free: int, streams: int) -> None:
        self.leases, self.streams = leased, streams

    def stream_refused(self, reason: str) -> None:
        self.refused.append(reason)

    def replayed(self, steps: int) -> None:
        self.replayed_steps += steps

    def simulators_waited(self, slot_seconds: float) -> None:
        self.slot_wait_seconds += slot_seconds

    def simulator_stepped(self, simulator: str, group: int, seconds: float) -> None:
        self.turns[simulator] = self.turns.get(simulator, 0) + 1

    def rebuilt_differently(self, slots: int) -> None:
        self.differing += slots


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenRow:
    """Everything the loop can see of one row, copied."""

    observation: bytes
    reward: float
    flags: int
    final_observation: bytes


class LearnerEnd:
    """A StreamServer on a Unix socket, and a loop that only plays. Close it with `stop`."""

    def __init__(
        self,
        config: TrainerConfig,
        directory: Path,
        *,
        address: str = "",
        step: int = 0,
        tls_directory: Path | None = None,
        rank: int = 0,
        homing: Homing | None = None,
    ) -> None:
        """`homing` where the job has several learners; their sockets differ by the rank."""
        self.config = config
        self.step = step
        """Of every slot; the policy looks at it."""
        self.counts = Counts()
        self.address = address or f"unix:{directory}/learner-{rank}"
        groups = config.learner.groups
        assert isinstance(groups, int)
        self._num_groups = groups
        self.slots: Slots | None = None
        self.server = StreamServer(
            config, self.address, groups=groups, tls_directory=tls_directory, rank=rank, metrics=self.counts
        )
        self.server.start(homing)

    def begin(self, state: dict[str, Any] | None = None) -> Slots:
        """Wait for the first simulator; let the slots be served, from `state` if there is one."""
        self.slots = self.server.slots(PATIENCE_SECONDS)
        assert self.slots is not None
        if state is not None:
            self.slots.load_state_dict(state)
        self.server.serve_leases()
        return self.slots

    def play(self, steps: int) -> list[list[SeenRow]]:
        """`steps` rows of every slot: [slot][step]. Ends with all rows READY."""
        slots = self.slots or self.begin()
        seen: list[list[SeenRow]] = [[] for _ in slots.reward]
        for _ in range(steps):
            for group, members in enumerate(slots.group_slices):
                self.act(group)
                assert slots.wait_group(group, PATIENCE_SECONDS), self.standing()
                for slot in range(members.start, members.stop):
                    seen[slot].append(_seen(slots, slot))
            self.step += 1
        return seen

    def standing(self) -> str:
        """Who owes which rows: what a test says that waited in vain."""
        slots, leasing = self.slots, self.server._leasing
        assert slots is not None
        assert leasing is not None
        said = [f"awaited: {np.flatnonzero(slots._actions_posted > slots._newest_row).tolist()}"]
        for stream in leasing._streams.values():
            owes = "owes rows" if np.isnan(stream.waits_since) else "waits for actions"
            lanes = vars(stream.lanes) if stream.lanes else "an offer"
            said.append(f"{stream.simulator}/{stream.number}, {owes}: {lanes}")
        return "\n".join([*said, repr(vars(leasing._table))])

    def first_rows(self) -> list[SeenRow]:
        slots = self.slots or self.begin()
        for group in range(self._num_groups):
            assert slots.wait_group(group, PATIENCE_SECONDS)
        return [_seen(slots, slot) for slot in range(len(slots.reward))]

    def act(self, group: int) -> None:
        """Post actions that depend on slot, step, and every byte of what the slot sees."""
        slots = self.slots
        assert slots is not None
        assert slots.wait_group(group, PATIENCE_SECONDS)
        members = slots.group_slices[group]
        action = [
            (zlib.crc32(slots.observation[slot].tobytes()) + 7 * slot + self.step) % slots.spaces.num_actions
            for slot in range(members.start, members.stop)
        ]
        slots.post_actions(group, np.array(action, np.int64))

    def stop(self, *, job_over: bool = False) -> None:
        self.server.stop(job_over=job_over)


def _seen(slots: Slots, slot: int) -> SeenRow:
    flags = int(slots.flags[slot])
    return SeenRow(
        observation=slots.observation[slot].tobytes(),
        reward=float(slots.reward[slot]),
        flags=flags,
        final_observation=slots.final_observation[slot].tobytes() if flags & TRUNCATED else b"",
    )


class Simulators:
    """Real simulator processes of one job, by name."""

    def __init__(self, config: TrainerConfig, address: str, directory: Path) -> None:
        self._config_path = directory / "job.json"
        self._config_path.write_text(dump(config))
        self._address = address
        self._directory = directory
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *names: str, **variables: str) -> None:
        for name in names:
            with self.log_path(name).open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    [sys.executable, *contract.SIMULATOR_COMMAND[1:]],
                    env=os.environ
                    | {
                        contract.CONFIG: str(self._config_path),
                        contract.LEARNER: self._address,
                        contract.SIMULATOR: name,
                        contract.HTTP: f"unix:{self._directory}/{name}.http",
                    }
                    | variables,
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                )

    def metric(self, name: str, metric: str) -> float:
        """What a simulator's /metrics says now."""
        _, text = self.answer(name, "/metrics")
        [line] = [line for line in text.splitlines() if line.startswith(f"stepstream_simulator_{metric} ")]
        return float(line.split()[1])

    def answer(self, name: str, path: str) -> tuple[int, str]:
        """Status and text that a simulator answers with; 0 and nothing while it does not listen."""
        connection = HTTPConnection("localhost", timeout=PATIENCE_SECONDS)
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(f"{self._directory}/{name}.http")
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def log_path(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    def stop(self) -> None:
        for name in [*self.processes]:
            self.kill(name)


@dataclass(frozen=True, kw_only=True, slots=True)
class DataPlane:
    """Both ends of one job."""

    learner: LearnerEnd
    simulators: Simulators
    directory: Path


@contextmanager
def data_plane(
    config: TrainerConfig, *names: str, address: str = "", tls_directory: Path | None = None
) -> Iterator[DataPlane]:
    """A learner's end with simulators of these names. Socket paths are short, hence the directory."""
    with tempfile.TemporaryDirectory(prefix="st-") as path:
        directory = Path(path)
        learner = LearnerEnd(config, directory, address=address, tls_directory=tls_directory)
        simulators = Simulators(config, learner.address, directory)
        try:
            simulators.start(*names)
            yield DataPlane(learner=learner, simulators=simulators, directory=directory)
        finally:
            simulators.stop()
            learner.stop()


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.01)
