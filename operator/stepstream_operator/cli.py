"""The `stepstream` command.

    stepstream run JOB        train on this machine          stepstream evaluate RUN   play whole games, greedily
    stepstream validate JOB   say what is wrong with it      stepstream video RUN      watch one
    stepstream render JOB     print its Kubernetes objects   stepstream plot RUN...    draw learning curves
                                                             stepstream trace RUN      see what every thread does

Exit codes: 0 done; 1 the job failed; 2 the input cannot work, and nothing was started; 130 stopped by Ctrl-C.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import version

import yaml

from stepstream_operator.api import load_job
from stepstream_operator.children import cluster_placement, desired_children
from stepstream_operator.local.checks import ProcessRefusedError
from stepstream_operator.local.ending import program
from stepstream_operator.local.opening import Start
from stepstream_operator.local.run_directory import RunDirectoryError
from stepstream_operator.local.runner import RunOptions, check_job, run
from stepstream_trainer.config import ConfigurationErrors
from stepstream_trainer.config.contract import STREAM_PORT

EXIT_OK = 0
EXIT_REFUSED = 2
EXIT_INTERRUPTED = 130

TRAINER_COMMANDS = {
    "evaluate": "play whole games with a run's newest checkpoint and say how well",
    "video": "make a GIF of a run's newest checkpoint at play",
    "plot": "draw the learning curves of one or several runs",
    "trace": "write what a run's threads did lately as a Chrome trace",
}
"""Run by the trainer in a process of its own: most need torch or matplotlib, and the control plane does not."""


def main(arguments: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in TRAINER_COMMANDS:
        os.execv(sys.executable, [sys.executable, "-m", f"stepstream_trainer.{words[0]}", *words[1:]])
    options = parser().parse_args(words)
    try:
        return int(options.execute(options))
    except (ConfigurationErrors, ProcessRefusedError, RunDirectoryError) as error:
        print(error, file=sys.stderr)
        return EXIT_REFUSED
    except KeyboardInterrupt:  # before a run began to listen for it
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="stepstream", description="Deep reinforcement learning, one YAML a job.")
    commands = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_validate(commands)
    _add_render(commands)
    for name, meaning in TRAINER_COMMANDS.items():
        commands.add_parser(name, help=meaning, add_help=False)
    commands.add_parser("version", help="print the version").set_defaults(execute=_version)
    return whole


def _add_run(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("run", help="train a job on this machine; started again, it goes on where it was")
    _add_job(command)
    start = command.add_mutually_exclusive_group()
    start.add_argument("--resume", action="store_const", const=Start.RESUME, dest="start", help="only go on with a run")
    start.add_argument(
        "--fresh", action="store_const", const=Start.FRESH, dest="start", help="begin anew; an old run is moved aside"
    )
    command.add_argument("--run-dir", metavar="DIR", help="where the run is kept (default: runs/<name of the job>)")
    command.add_argument(
        "--tcp",
        type=_port,
        nargs="?",
        const=STREAM_PORT,
        metavar="PORT",
        help=f"stream over TCP on the loopback interface (default port {STREAM_PORT}) instead of Unix sockets; "
        "the learner of rank r takes PORT + r",
    )
    command.add_argument(
        "--http-port",
        type=_port,
        metavar="PORT",
        help="serve the learner's /metrics and /status on this loopback port; the learner of rank r takes PORT + r",
    )
    command.set_defaults(execute=_run, start=Start.AUTO)


def _add_validate(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("validate", help="say everything that is wrong with a job")
    _add_job(command)
    command.add_argument("--environment", action="store_true", help="also make the job's environment, here")
    command.set_defaults(execute=_validate)


def _add_render(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("render", help="print the Kubernetes objects that the operator makes of a job")
    _add_job(command)
    command.set_defaults(execute=_render)


def _add_job(command: argparse.ArgumentParser) -> None:
    command.add_argument("job", metavar="JOB", help="YAML file with one TrainingJob")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="FIELD=VALUE",
        help="change a field, such as spec.simulators.replicas=2; may be given many times",
    )


def _run(options: argparse.Namespace) -> int:
    return run(
        RunOptions(
            job_file=options.job,
            overrides=tuple(options.overrides),
            start=options.start,
            run_directory=options.run_dir,
            stream_port=options.tcp,
            http_port=options.http_port,
            resume_command=resume_command(options),
        ),
        sys.stdout,
    )


def resume_command(options: argparse.Namespace) -> str:
    """What to type to go on with this run: the same command, without --fresh."""
    words = [program(), "run", options.job]
    for override in options.overrides:
        words += ["--set", override]
    if options.run_dir is not None:
        words += ["--run-dir", options.run_dir]
    if options.tcp is not None:
        words += ["--tcp", str(options.tcp)]
    if options.http_port is not None:
        words += ["--http-port", str(options.http_port)]
    return shlex.join(words)


def _validate(options: argparse.Namespace) -> int:
    job = load_job(options.job, options.overrides)
    if options.environment:
        check_job(job, RunOptions(job_file=options.job), goes_on_in=None)
    print(f"{options.job}: TrainingJob {job.name} is valid")
    return EXIT_OK


def _render(options: argparse.Namespace) -> int:
    job = load_job(options.job, options.overrides)
    children = desired_children(job, 1, cluster_placement(job, tls=True))
    yaml.dump_all(children, sys.stdout, Dumper=_BlockDumper, sort_keys=False, allow_unicode=True)
    return EXIT_OK


class _BlockDumper(yaml.SafeDumper):
    """Texts of several lines are written as such, so that job.json can be read."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    def ignore_aliases(self, data: object) -> bool:
        return True


_BlockDumper.add_representer(str, _BlockDumper.represent_text)


def _version(options: argparse.Namespace) -> int:
    print(f"stepstream {version('stepstream')}")
    return EXIT_OK


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"must be a port from 1 to 65535, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
