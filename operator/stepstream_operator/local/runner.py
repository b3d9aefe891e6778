"""`stepstream run`: refuses what cannot work before anything starts, runs the job, and says how it ended."""

import os
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from stepstream_operator.api import TrainingJob, load_job
from stepstream_operator.api.status_types import ConditionType, JobStatus
from stepstream_operator.local.checks import check_installed, check_processes
from stepstream_operator.local.display import Display, make_display
from stepstream_operator.local.ending import EXIT_OK, exit_code, last_words
from stepstream_operator.local.opening import Start, check_open
from stepstream_operator.local.plan import THREADS, Addresses, Plan, place, plan_processes
from stepstream_operator.local.run_directory import RunDirectory, write_atomically
from stepstream_operator.local.sockets import other_runs_at_work, remove_left_sockets, socket_directory
from stepstream_operator.local.supervisor import Supervisor
from stepstream_operator.local.wakeup import Wakeup
from stepstream_operator.status import Observed, derive_job_status
from stepstream_trainer.config import ConfigurationErrors, FieldError, QLearningParameters, contract


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """What the command line said. `resume_command` is what to type to go on."""

    job_file: str
    overrides: tuple[str, ...] = ()
    start: Start = Start.AUTO
    run_directory: str | None = None
    """None: runs/<name of the job>."""
    stream_port: int | None = None
    http_port: int | None = None
    resume_command: str = ""


def run(options: RunOptions, output: TextIO) -> int:
    """The exit code. Raises ConfigurationErrors, ProcessRefusedError, RunDirectoryError before anything starts."""
    job = load_job(options.job_file, options.overrides)
    if job.spec.suspend:
        raise ConfigurationErrors(
            [FieldError(path="spec.suspend", problem="is true, so nothing would run; set it to false")]
        )
    shown = options.run_directory or f"runs/{job.name}"
    directory = RunDirectory(Path(shown).absolute(), shown)
    directory.check_unused()
    goes_on = check_open(directory, job, options.start)
    if goes_on and is_complete(directory, job):
        print(f"{shown}: is complete. {how_to_train_on(directory)}, or begin anew with --fresh.", file=output)
        return EXIT_OK
    check_job(job, options, goes_on_in=directory if goes_on else None)
    started = time.monotonic()
    status = _run_in(directory, job, options, output)
    with suppress(OSError):  # a terminal that was closed on the way
        for line in last_words(status, directory, options.resume_command, time.monotonic() - started):
            print(line, file=output, flush=True)
    return exit_code(status)


def is_complete(directory: RunDirectory, job: TrainingJob) -> bool:
    """Whether the run here has reached what the job asks for."""
    before = directory.job().spec
    same_goal = (before.total_steps, before.stop_when) == (job.spec.total_steps, job.spec.stop_when)
    return directory.status().holds(ConditionType.Complete) and same_goal


def how_to_train_on(directory: RunDirectory) -> str:
    """Which goal of a complete run to move: the one that it reached."""
    spec, progress = directory.job().spec, directory.status().progress
    if spec.stop_when is not None and progress is not None and progress.steps < spec.total_steps:
        return f"Raise spec.stopWhen.meanReturn (it was {spec.stop_when.mean_return}) to train on"
    return f"Raise spec.totalSteps (it was {spec.total_steps}) to train on"


def hint_about_cores(others: int) -> str:
    """What to do where so many other runs share this machine's cores."""
    return (
        f"Runs at work on this machine beside this one: {others}. Those that read images go much faster where each is "
        f"started with {THREADS}=1: see docs/troubleshooting.md, Two runs on one machine"
    )


def check_job(job: TrainingJob, options: RunOptions, *, goes_on_in: RunDirectory | None) -> None:
    """Let a simulator, and learners that could refuse, see whether they could work. Raises ProcessRefusedError."""
    check_installed("torch", extra="learner")
    with socket_directory() as scratch:
        directory = RunDirectory(Path(scratch), scratch)
        addresses = Addresses(sockets=scratch, stream_port=options.stream_port, http_port=options.http_port)
        plan = plan_processes(job, 1, place(directory, addresses), directory)
        _write_files(plan)
        learners = plan.learners[: _learners_to_ask(job, options, goes_on=goes_on_in is not None)]
        if goes_on_in is not None:
            here = {contract.RUN_DIR: str(goes_on_in.path)}
            learners = tuple(replace(each, environment={**each.environment, **here}) for each in learners)
        check_processes((plan.simulators[0], *learners))


def _learners_to_ask(job: TrainingJob, options: RunOptions, *, goes_on: bool) -> int:
    """How many learners have something to refuse: each its ports, and the first a checkpoint, or a replay too large.

    To ask one takes seconds, since it imports torch; most runs begin without.
    """
    if options.stream_port is not None or options.http_port is not None:
        return job.spec.learners.replicas
    return int(goes_on or isinstance(job.spec.algorithm.parameters, QLearningParameters))


def _run_in(directory: RunDirectory, job: TrainingJob, options: RunOptions, output: TextIO) -> JobStatus:
    """With the directory locked, its files written, sockets at hand and the display on."""
    with ExitStack() as closing:
        closing.enter_context(directory.lock())
        if not check_open(directory, job, options.start) and directory.holds_a_run():
            aside = directory.move_aside()
            print(f"{directory.shown}: the run that was here is now {aside.name}, beside it", file=output)
            closing.enter_context(directory.lock())
        sockets = closing.enter_context(socket_directory())
        _prepare(directory, job, sockets)
        if THREADS not in os.environ and (others := other_runs_at_work(sockets)):
            print(hint_about_cores(others), file=output)
        display = make_display(output)
        closing.callback(display.close)
        addresses = Addresses(sockets=sockets, stream_port=options.stream_port, http_port=options.http_port)
        return _supervise(job, directory, addresses, display)


def _prepare(directory: RunDirectory, job: TrainingJob, sockets: str) -> None:
    """What the last runner left is tidied up, and its job stands as one that is suspended and about to be resumed."""
    remove_left_sockets(directory.sockets())
    directory.save_job(job)  # first of all: by it a directory is known to hold a run
    directory.save_sockets(sockets)
    before = directory.status()
    if before.finished:  # it is run again, towards another goal or after a failure that was seen to
        before = JobStatus(attempt=before.attempt)
    suspended = replace(job, spec=replace(job.spec, suspend=True))
    if before.attempt:
        directory.save_status(derive_job_status(suspended, Observed(previous=before), datetime.now(UTC)))


def _supervise(job: TrainingJob, directory: RunDirectory, addresses: Addresses, display: Display) -> JobStatus:
    def begin(attempt: int) -> Plan:
        plan = plan_processes(job, attempt, place(directory, addresses), directory)
        _write_files(plan)
        return plan

    with Wakeup() as wakeup:
        return Supervisor(begin, job=job, directory=directory, display=display, wakeup=wakeup).run()


def _write_files(plan: Plan) -> None:
    """Those that are new: on a disk that is full a further attempt writes nothing."""
    for path, text in ((Path(name), text) for name, text in plan.files.items()):
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_atomically(path, text)
