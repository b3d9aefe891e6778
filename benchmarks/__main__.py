"""Every benchmark in turn: `python -m benchmarks [--quick]`. Each writes its own dated record into results/."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    """The number of benchmarks that failed."""
    failed = [path.stem for path in sorted(HERE.glob("bench_*.py")) if not _run(path.stem)]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


def _run(name: str) -> bool:
    print(f"== {name}", flush=True)
    command = [sys.executable, "-m", f"benchmarks.{name}", *sys.argv[1:]]
    return subprocess.run(command, cwd=HERE.parent, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
