"""A virtual environment for the peers, apart from Stepstream's own, made once in the user's cache folder.

It sees Stepstream's packages behind its own (a .pth file), so that torch, 5 GB of it, is installed once and is the same
for everyone who is measured. Its name is a digest of the requirements: new requirements make a new environment.
"""

import hashlib
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def interpreter() -> Path:
    """Path of the peers' Python; installs them first where they are missing (a minute, 1 GB)."""
    requirements = HERE / "requirements.txt"
    site_packages = sysconfig.get_path("purelib")
    digest = hashlib.sha256(requirements.read_bytes() + site_packages.encode()).hexdigest()[:12]
    home = _cache() / f"peers-{digest}"
    python, ready = home / "bin" / "python", home / "ready"
    if not ready.exists():
        print(f"Installing the peers into {home}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        _share(python, site_packages)
        install = [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(requirements)]
        subprocess.run([*install, "--constraint", str(ROOT / "constraints.txt")], check=True)
        ready.touch()
    return python


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stepstream" / "benchmarks"


def _share(python: Path, site_packages: str) -> None:
    own = subprocess.check_output([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True)
    (Path(own.strip()) / "stepstream.pth").write_text(site_packages + "\n")
