"""What the operator (or the local runner) and the processes it starts have agreed on."""

import re
from pathlib import Path
from typing import Final

LEARNER_COMMAND: Final = ("python", "-m", "stepstream_trainer.learner")
SIMULATOR_COMMAND: Final = ("python", "-m", "stepstream_trainer.simulator")

EXIT_DONE: Final = 0
"""The job is over: the budget is spent, the goal is reached, or (a simulator) the learner said so."""

EXIT_FAILED: Final = 1
"""A failure, like whatever else is not listed here: start all learners again, and count it."""

EXIT_RESUME: Final = 75
"""Start me again, it is no failure of mine: SIGTERM was handled and a checkpoint written, or another learner was lost.
sysexits.h EX_TEMPFAIL."""

EXIT_INVALID: Final = 78
"""The input cannot work; trying again is of no use. sysexits.h EX_CONFIG."""

STREAM_PORT: Final = 7070
"""A learner takes simulators' streams here."""

HTTP_PORT: Final = 9090
"""/metrics, /status, /healthz, /readyz."""

RENDEZVOUS_PORT: Final = 7071
"""The learner of rank 0 takes the other learners' connections here, where a job has several."""

CONFIG: Final = "STEPSTREAM_CONFIG"
"""Path of job.json."""

RUN_DIR: Final = "STEPSTREAM_RUN_DIR"
"""The learners' directory: checkpoints/, metrics.jsonl, tensorboard/. They may share it: see `rank_directory`."""

RANK: Final = "STEPSTREAM_RANK"
WORLD_SIZE: Final = "STEPSTREAM_WORLD_SIZE"

ATTEMPT: Final = "STEPSTREAM_ATTEMPT"
"""Which life of the learner set this is; the first is 1."""

LISTEN: Final = "STEPSTREAM_LISTEN"
"""Where a learner takes streams: `0.0.0.0:7070` or `unix:/path`."""

SPIN: Final = ("GOMP_SPINCOUNT", "15000")
"""How often torch's idle threads (libgomp's) look for work before they sleep: for a fraction of a millisecond, which
spans the gaps within a forward pass. By default twenty times as often: for 5 to 7 ms, on cores that emulators need."""

LEARNER: Final = "STEPSTREAM_LEARNER"
"""gRPC targets that a simulator dials, those of all learners in one (`at_rank`): `dns:///job-learner-{rank}.svc:7070`,
`unix:/dir/learner-{rank}.sock`, or `dns:///127.0.0.1:{7070+rank}`."""

RENDEZVOUS: Final = "STEPSTREAM_RENDEZVOUS"
"""Where the learners of a job find one another: rank 0's `host:port`. Set where WORLD_SIZE is above 1."""

HTTP: Final = "STEPSTREAM_HTTP"
"""Where a process serves HTTP: `0.0.0.0:9090` or `unix:/path`."""

SIMULATOR: Final = "STEPSTREAM_SIMULATOR"
"""A simulator's name, unique in the job."""

FINAL_STATUS: Final = "STEPSTREAM_FINAL_STATUS"
"""File for a learner's last /status when the job is done; a pod's termination message. Not set: none is written."""

TLS_DIR: Final = "STEPSTREAM_TLS_DIR"
"""Directory with ca.crt, tls.crt and tls.key. Where it is set, both ends demand the other's certificate."""

TLS_LEARNER: Final = "learner"
"""The DNS name in every learner's certificate: who it is, wherever it listens. A simulator's has another."""

_AT_RANK: Final = re.compile(r"\{(?:(\d+)\+)?rank\}")


def at_rank(address: str, rank: int) -> str:
    """The address of one learner, from one of all: `{rank}` by the rank, `{7070+rank}` by their sum."""
    return _AT_RANK.sub(lambda match: str(int(match[1] or 0) + rank), address)


def rank_directory(run_directory: Path, rank: int) -> Path:
    """Where a learner writes what only it writes: rank 0 in the run's directory itself, as if it were alone."""
    return run_directory / f"rank-{rank}" if rank else run_directory
