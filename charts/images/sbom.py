"""Lists what is in the images, by syft: an SBOM of each in SPDX, and one table of all packages with their licences.

make sbom ARGS="--engine docker --tag TAG simulator operator"
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charts.images.build import ROOT, Engine, add_names, cache_directory, engine, prefix_of

UNKNOWN = ("", "NOASSERTION", "NONE")
"""How SPDX says that a package does not tell its licence."""

NOT_SOUGHT = "-pe-binary-package-cataloger"
"""Programs for Windows: setuptools brings launchers, which are no packages."""


@dataclass(frozen=True, order=True, slots=True)
class Package:
    name: str
    version: str
    licence: str
    """SPDX expression; empty where the package does not tell."""


def packages_of(spdx: Mapping[str, Any]) -> set[Package]:
    """Of an SPDX document; the image itself is none."""
    described = {
        each["relatedSpdxElement"] for each in spdx["relationships"] if each["relationshipType"] == "DESCRIBES"
    }
    return {
        Package(each["name"], each.get("versionInfo", ""), _licence(each))
        for each in spdx["packages"]
        if each["SPDXID"] not in described
    }


def _licence(package: Mapping[str, Any]) -> str:
    told = (package.get(name, "") for name in ("licenseConcluded", "licenseDeclared"))
    return next((licence for licence in told if licence not in UNKNOWN), "")


def licence_table(packages: Mapping[str, set[Package]]) -> str:
    """Markdown: every package once, with the roles whose images hold it."""
    lines = [
        "# Packages in the images, and their licences",
        "",
        "| package | version | licence | in |",
        "| --- | --- | --- | --- |",
    ]
    for package in sorted(set().union(*packages.values())):
        roles = ", ".join(role for role, found in packages.items() if package in found)
        lines.append(f"| {package.name} | {package.version} | {package.licence or 'not told'} | {roles} |")
    return "\n".join(lines) + "\n"


def scan(syft: Path, engine: Engine, image: str, destination: Path) -> dict[str, Any]:
    """Writes the image's SBOM and gives it back."""
    cache_directory().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_directory()) as scratch:
        layout = Path(scratch, "image")
        if engine.name == "docker":
            kind = "docker-archive"
            engine("save", "--output", str(layout), image)
        else:
            kind = "oci-dir"  # syft unpacks no archive of a layer of more than 2 GiB, as torch's is
            engine("push", image, f"oci:{layout}")
        name, _, tag = image.rpartition(":")
        command = [str(syft), "scan", f"{kind}:{layout}", "--source-name", name, "--source-version", tag]
        command += ["--select-catalogers", NOT_SOUGHT, "--output", f"spdx-json={destination}"]
        environment = os.environ | {"SYFT_CHECK_FOR_APP_UPDATE": "false", "TMPDIR": scratch}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{done.stderr}{image}: syft ended with {done.returncode}")
    found: dict[str, Any] = json.loads(destination.read_text())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes an SBOM of each image, and a table of licences.")
    parser.add_argument("--syft", type=Path, default=Path("syft"), help="the program")
    parser.add_argument("--to", type=Path, default=ROOT / "dist" / "sbom", help="folder")
    add_names(parser)
    arguments = parser.parse_args()
    chosen = engine(arguments.engine)
    prefix = arguments.prefix or prefix_of(chosen)
    arguments.to.mkdir(parents=True, exist_ok=True)
    packages = {}
    for role in arguments.roles:
        image = f"{prefix}/{role}:{arguments.tag}"
        if not chosen.has(image):
            raise SystemExit(f"there is no image {image}: make images")
        packages[role] = packages_of(scan(arguments.syft, chosen, image, arguments.to / f"{role}.spdx.json"))
        print(f"{image}: {len(packages[role])} packages", flush=True)
    (arguments.to / "licences.md").write_text(licence_table(packages))
    print(f"written: {arguments.to}")


if __name__ == "__main__":
    main()
