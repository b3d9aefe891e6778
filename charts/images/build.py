"""Builds the images from the Dockerfile, says how large they are, and holds a bar on the simulator's.

    make images ARGS="--engine docker --base IMAGE --tag TAG simulator operator"

With docker (and BuildKit) or podman, whose registries have a Python to build on; else with buildah, which needs root
and no daemon, on a Debian base that debootstrap makes (--base debootstrap). Buildah's images lie in a store of their
own, in the user's cache. The files that $SSL_CERT_FILE and $PIP_CONFIG_FILE name are handed to the build as secrets;
$WHEELS is a folder of wheels, $TORCH_INDEX an index to take torch from.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROLES = ("operator", "simulator", "learner")
ENGINES = ("docker", "podman", "buildah")
UNITS = ("B", "KB", "MB", "GB")
FORGETFUL = ("unshare", "--mount", "--propagation", "private")
"""Tools of buildah's stores leave them mounted, and stages that others mount something of; that ends with them."""

PASSED_ON = ("TORCH_INDEX", "PIP_NO_INDEX")
"""Build arguments of the Dockerfile that are taken from the environment."""

SIMULATOR_BAR_MB = 260
"""Unpacked, base included: nodes for simulators pull it as they are added."""

DEBOOTSTRAP = "debootstrap"
DEBIAN = "bookworm"
LOCAL_BASE = f"localhost/stepstream/base:{DEBIAN}"
BASE_PACKAGES = ("ca-certificates", "python3", "python3-venv")


def cache_directory() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "stepstream" / "images"


STORE = cache_directory() / "store"
STORE_STATE = cache_directory() / "run"
STORE_IN_NAMES = f"[overlay@{STORE}+{STORE_STATE}]"
"""How other tools that work on such stores name ours."""


def version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """One of ENGINES, and what goes before its commands' own arguments."""

    name: str
    options: tuple[str, ...] = ()

    def __call__(self, *arguments: str) -> str:
        """What the command prints. Where it fails, all of that goes to our errors, and so do we."""
        done = self._run(*arguments)
        if done.returncode != 0:
            raise SystemExit(f"{done.stdout}{done.stderr}{self.name} {' '.join(arguments)}: exit {done.returncode}")
        return done.stdout

    def has(self, image: str) -> bool:
        inspect = ("inspect", "--type", "image") if self.name == "buildah" else ("image", "inspect")
        return self._run(*inspect, image).returncode == 0

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*(FORGETFUL if self.name == "buildah" else ()), self.name, *self.options, *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    def build(self, tag: str, context: Path, *arguments: str) -> None:
        own = {
            # Without --format docker, health checks are left out of an image.
            "buildah": ("--isolation", "chroot", "--layers", "--format", "docker", "--pull-never"),
            "podman": ("--layers", "--format", "docker"),
            "docker": (),
        }
        self("build", *own[self.name], "--tag", tag, *arguments, str(context))

    def size_bytes(self, image: str) -> int:
        """Unpacked, with all layers."""
        if self.name == "buildah":
            number, unit = json.loads(self("images", "--json", image))[0]["size"].split()
            return int(float(number) * 10 ** (3 * UNITS.index(unit)))
        return int(self("image", "inspect", "--format", "{{.Size}}", image))


def works(name: str) -> bool:
    """A client is often there whose daemon, or whose BuildKit, is not."""
    questions = {"docker": ("info", "buildx version"), "podman": ("info",), "buildah": ("--version",)}[name]
    return shutil.which(name) is not None and all(
        subprocess.run([name, *question.split()], capture_output=True).returncode == 0 for question in questions
    )


def engine(name: str) -> Engine:
    """The engine of that name, else the first that works."""
    found = name or next((each for each in ENGINES if works(each)), "")
    if not found:
        raise SystemExit(f"none of {', '.join(ENGINES)} works here; Debian: apt-get install buildah debootstrap")
    if found != "buildah":
        return Engine(name=found)
    options = ("--root", str(STORE), "--runroot", str(STORE_STATE), "--storage-driver", "overlay")
    return Engine(name=found, options=options)


def build(engine: Engine, *, base: str, roles: tuple[str, ...], tag: str, prefix: str) -> dict[str, str]:
    """Role -> the image's full name."""
    if base == DEBOOTSTRAP:
        make_debian_base(engine)
        base = LOCAL_BASE
    images = {role: f"{prefix}/{role}:{tag}" for role in roles}
    for role, image in images.items():
        started = time.monotonic()
        engine.build(image, ROOT, "--target", role, *_build_arguments(base, tag), *_secrets())
        megabytes = engine.size_bytes(image) / 1e6
        print(f"{image}: {megabytes:,.0f} MB unpacked, built in {time.monotonic() - started:.0f} s", flush=True)
    return images


def _build_arguments(base: str, tag: str) -> list[str]:
    revision = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    values = {"BASE": base, "VERSION": tag, "REVISION": revision}
    values |= {name: os.environ[name] for name in PASSED_ON if os.environ.get(name)}
    arguments = [part for name, value in values.items() if value for part in ("--build-arg", f"{name}={value}")]
    wheels = os.environ.get("WHEELS")
    return [*arguments, *(["--build-context", f"wheels={Path(wheels).resolve()}"] if wheels else [])]


def _secrets() -> list[str]:
    """What this machine needs to reach its package index. Secrets never become part of an image."""
    files = {"ca": os.environ.get("SSL_CERT_FILE"), "pip": os.environ.get("PIP_CONFIG_FILE")}
    return [part for id, file in files.items() if file for part in ("--secret", f"id={id},src={file}")]


def make_debian_base(engine: Engine) -> None:
    """A Debian with Python, from the mirror that apt uses here; once."""
    if engine.has(LOCAL_BASE):
        return
    with tempfile.TemporaryDirectory(dir=_made(cache_directory())) as scratch:
        root, context = Path(scratch, "root"), _made(Path(scratch, "context"))
        include = f"--include={','.join(BASE_PACKAGES)}"
        print(f"making {LOCAL_BASE} by debootstrap (minutes, once)", file=sys.stderr, flush=True)
        command = ["debootstrap", "--variant=minbase", include, DEBIAN, str(root), *_mirror()]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        for left_over in (*root.glob("var/cache/apt/archives/*.deb"), *root.glob("var/lib/apt/lists/*_*")):
            left_over.unlink()
        without = [f"--exclude=./{folder}/*" for folder in ("dev", "proc", "sys")]
        archive = context / "base.tar"
        subprocess.run(["tar", "-C", str(root), *without, "--sort=name", "-cf", str(archive), "."], check=True)
        (context / "Dockerfile").write_text('FROM scratch\nADD base.tar /\nCMD ["python3"]\n')
        engine.build(LOCAL_BASE, context)


def _mirror() -> list[str]:
    """apt's own, where there is an apt."""
    if not shutil.which("apt-get"):
        return []
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    found = subprocess.run(command, capture_output=True, text=True).stdout.split()
    return found[:1]


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def add_names(parser: argparse.ArgumentParser) -> None:
    """What says which images are meant: --engine, --tag, --prefix and roles."""
    parser.add_argument("--engine", default="", choices=("", *ENGINES), help="default: the first that is here")
    parser.add_argument("--tag", default=version())
    parser.add_argument("--prefix", default="", help="goes before /operator, /simulator and /learner")
    parser.add_argument("roles", nargs="*", default=ROLES, help=f"default: {' '.join(ROLES)}")


def prefix_of(engine: Engine) -> str:
    """Of images that nobody has named otherwise."""
    return "localhost/stepstream" if engine.name == "buildah" else "stepstream"


def main() -> None:
    parser = argparse.ArgumentParser(description="Builds Stepstream's images and holds a bar on the simulator's size.")
    parser.add_argument("--base", default="", help=f"a Debian with Python, or {DEBOOTSTRAP}")
    add_names(parser)
    arguments = parser.parse_args()
    chosen = engine(arguments.engine)
    prefix = arguments.prefix or prefix_of(chosen)
    base = arguments.base or (DEBOOTSTRAP if chosen.name == "buildah" else "")
    images = build(chosen, base=base, roles=tuple(arguments.roles), tag=arguments.tag, prefix=prefix)
    check_size(chosen, images)


def check_size(engine: Engine, images: dict[str, str]) -> None:
    """Fails where the simulator's image is larger than its bar."""
    if "simulator" in images:
        megabytes = engine.size_bytes(images["simulator"]) / 1e6
        if megabytes > SIMULATOR_BAR_MB:
            raise SystemExit(f"{images['simulator']} has {megabytes:.0f} MB; its bar is {SIMULATOR_BAR_MB} MB")


if __name__ == "__main__":
    main()
