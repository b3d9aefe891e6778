"""Records of measurements: what was run, where, and what came out, as JSON for programs and Markdown for people."""

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"

_PACKAGES = ("torch", "numpy", "ale-py", "gymnasium", "grpcio")
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")

Cell = str | int | float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Rows of cells under a header. Numbers of 100 and more are shown whole, smaller ones with three digits."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]

    def markdown(self) -> str:
        rule = ["---"] + ["---:"] * (len(self.header) - 1)
        lines = [list(self.header), rule, *([_shown(cell) for cell in row] for row in self.rows)]
        return "\n".join([f"### {self.title}", "", *("| " + " | ".join(line) + " |" for line in lines)])


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One benchmark's outcome. `settings` holds whatever is needed to read the numbers, with units in the
    names; `machine` is `describe_machine()` taken before the measurement."""

    name: str
    title: str
    settings: dict[str, Cell]
    machine: dict[str, Cell]
    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()
    command: str = field(default_factory=lambda: command())
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def markdown(self) -> str:
        facts = {"Command": f"`{self.command}`", "Time": self.time, **self.settings, **self.machine}
        lines = [f"# {self.title}", "", *(f"- {name}: {_shown(value)}" for name, value in facts.items())]
        for table in self.tables:
            lines += ["", table.markdown()]
        if self.notes:
            lines += ["", *(f"- {note}" for note in self.notes)]
        return "\n".join(lines) + "\n"

    def write(self, folder: Path = RESULTS) -> Path:
        """Write `<date>-<name>.json` and `.md`; returns the latter's path. A second run of a day replaces the first."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.time[:10]}-{self.name}.md"
        path.write_text(self.markdown())
        path.with_suffix(".json").write_text(json.dumps(asdict(self), indent=2) + "\n")
        return path


def describe_machine() -> dict[str, Cell]:
    """What the numbers depend on: processor, cores this process may use, memory, versions, and who else was working.

    `commit` is of this tree, with a + where files differ from it.
    """
    model, flags = _processor()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    packages = {name: found for name in _PACKAGES if (found := _version(name))}
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "instructions": " ".join(flag for flag in _FLAGS if flag in flags),
        "memory GiB": round(memory / 2**30),
        "load before": round(os.getloadavg()[0], 2),
        "commit": _commit(),
        "python": platform.python_version(),
        **packages,
    }


def _commit() -> str | None:
    """None where this is no checkout."""
    git = ["git", "-C", str(RESULTS.parent), "describe", "--always", "--dirty=+"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def _processor() -> tuple[str, frozenset[str]]:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine(), frozenset()
    fields = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
    facts = {name.strip(): value.strip() for name, value in fields.items()}
    return facts.get("model name", platform.machine()), frozenset(facts.get("flags", "").split())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def command() -> str:
    module = getattr(sys.modules["__main__"], "__spec__", None)
    program = ["python", "-m", module.name.removesuffix(".__main__")] if module else ["python", sys.argv[0]]
    return shlex.join([*program, *sys.argv[1:]])


def _shown(value: Cell) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else value
