"""Everything in the tree that a command writes: run those commands, or check that they would change nothing.

    python .ci/generated.py            write all of it
    python .ci/generated.py protos     write one kind
    python .ci/generated.py --check    write nothing; exit with 1, and say what differs, where the tree is out of date

The check compares bytes on disk, so it holds with uncommitted changes too, and it puts back what it finds.
"""

import argparse
import difflib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, kw_only=True, slots=True)
class Generator:
    """A command, run at the root with this interpreter, and the files (globs) that it writes.

    With `prints` there is one file, and the command's standard output is its content.
    """

    command: tuple[str, ...]
    writes: tuple[str, ...]
    prints: bool = False


GENERATORS = {
    "protos": Generator(
        command=("protos/generate.py",),
        writes=("protos/stepstream_protos/v1/*_pb2*.py*",),
    ),
    "crd": Generator(
        command=("-m", "stepstream_operator.api", "crd"), writes=("charts/stepstream/files/crd.yaml",), prints=True
    ),
    "trainingjob": Generator(
        command=("-m", "stepstream_operator.api", "docs"), writes=("docs/trainingjob.md",), prints=True
    ),
    "metrics": Generator(command=("docs/generate_metrics.py",), writes=("docs/metrics.md",)),
    "dashboards": Generator(command=("-m", "charts.dashboards"), writes=("charts/stepstream/files/dashboards/*.json",)),
    "chart": Generator(command=("-m", "charts.readme"), writes=("charts/stepstream/README.md",)),
}


def read(generator: Generator) -> dict[Path, bytes]:
    """Path -> content of every generated file that exists."""
    return {path: path.read_bytes() for pattern in generator.writes for path in sorted(ROOT.glob(pattern))}


def generate(generator: Generator) -> None:
    command = [sys.executable, *generator.command]
    if generator.prints:
        (ROOT / generator.writes[0]).write_bytes(subprocess.check_output(command, cwd=ROOT))
    else:
        subprocess.run(command, cwd=ROOT, check=True)


def put_back(before: dict[Path, bytes], after: dict[Path, bytes]) -> None:
    for path in after.keys() - before.keys():
        path.unlink()
    for path, content in before.items():
        if after.get(path) != content:
            path.write_bytes(content)


def differences(before: dict[Path, bytes], after: dict[Path, bytes]) -> Iterator[str]:
    """Lines of a unified diff from what the tree holds to what the command writes."""
    for path in sorted(before.keys() | after.keys()):
        old, new = (text.get(path, b"").decode().splitlines(keepends=True) for text in (before, after))
        name = str(path.relative_to(ROOT))
        yield from difflib.unified_diff(old, new, f"{name} (in the tree)", f"{name} (generated)")


def check(name: str) -> bool:
    """Whether the tree holds what the command writes. Prints what differs."""
    before = read(GENERATORS[name])
    try:
        generate(GENERATORS[name])
    finally:
        after = read(GENERATORS[name])
        put_back(before, after)
    found = list(differences(before, after))
    sys.stdout.writelines(found)
    return not found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(GENERATORS)}; all without one")
    parser.add_argument("--check", action="store_true", help="compare, do not write")
    arguments = parser.parse_args()
    names = arguments.names or list(GENERATORS)
    if unknown := sorted(set(names) - GENERATORS.keys()):
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(GENERATORS)}")
    if not arguments.check:
        for name in names:
            generate(GENERATORS[name])
        return 0
    stale = [name for name in names if not check(name)]
    if stale:
        print(f"out of date: {', '.join(stale)}. Write anew with `make protos docs` and commit.", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
