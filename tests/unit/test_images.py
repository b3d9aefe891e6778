"""What images are made from, as far as that can be said without building one."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
from pathlib import Path

import pytest

from charts.images.build import ROLES, SIMULATOR_BAR_MB, Engine, check_size, engine
from charts.images.sbom import Package, licence_table, packages_of

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PYPROJECT = """
[project]
dependencies = ["numpy>=2"]
optional-dependencies.operator = ["kubernetes>=37"]
optional-dependencies.simulator = ["grpcio>=1.80"]
optional-dependencies.learner = ["stepstream[simulator]", "torch>=2.9", "tensorboard>=2"]
"""


def requirements(pyproject: Path, directory: Path) -> dict[str, list[str]]:
    command = [sys.executable, str(ROOT / "charts" / "images" / "requirements.py"), str(pyproject), str(directory)]
    subprocess.run(command, check=True)
    return {file.stem: file.read_text().split() for file in directory.iterdir()}


def test_each_role_gets_its_own_packages_and_torch_a_layer_to_itself(tmp_path: Path) -> None:
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text(PYPROJECT)
    assert requirements(pyproject, tmp_path / "requirements") == {
        "operator": ["kubernetes>=37", "numpy>=2"],
        "simulator": ["grpcio>=1.80", "numpy>=2"],
        "torch": ["torch>=2.9"],
        "learner": ["tensorboard>=2", "torch>=2.9"],
    }


def test_the_projects_own_extras_name_torch_for_learners_alone(tmp_path: Path) -> None:
    found = requirements(ROOT / "pyproject.toml", tmp_path / "requirements")
    with_torch = {role for role, lines in found.items() if any(line.startswith("torch") for line in lines)}
    assert with_torch == {"torch", "learner"}
    assert len(found["torch"]) == 1


def test_every_path_that_the_dockerfile_copies_passes_the_dockerignore() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = [line.removeprefix("!") for line in lines if line.startswith("!")]
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert copied
    left_out = [each for each in copied if not any(fnmatch.fnmatch(each, pattern) for pattern in allowed)]
    assert left_out == []


def test_every_image_runs_as_a_numeric_user_and_says_how_it_is() -> None:
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)
    final = {role: next(each for each in stages if f" AS {role}\n" in each) for role in ROLES}
    for role, stage in final.items():
        assert "USER 65532:65532\n" in stage, role
        assert "HEALTHCHECK CMD " in stage, role


@pytest.mark.parametrize("megabytes", [SIMULATOR_BAR_MB + 1, 100_000])
def test_a_simulators_image_above_its_bar_fails_the_build(monkeypatch: pytest.MonkeyPatch, megabytes: int) -> None:
    monkeypatch.setattr(Engine, "size_bytes", lambda self, image: megabytes * 1_000_000)
    with pytest.raises(SystemExit, match="its bar is"):
        check_size(Engine(name="docker"), {"simulator": "stepstream/simulator:1"})


def test_a_simulators_image_at_its_bar_and_a_learners_of_any_size_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"simulator": SIMULATOR_BAR_MB, "learner": 100 * SIMULATOR_BAR_MB}
    monkeypatch.setattr(Engine, "size_bytes", lambda self, image: sizes[image] * 1_000_000)
    check_size(Engine(name="docker"), {role: role for role in sizes})


SPDX = {
    "packages": [
        {"SPDXID": "image", "name": "stepstream/simulator", "versionInfo": "0.1.0"},
        {"SPDXID": "a", "name": "numpy", "versionInfo": "2.4.6", "licenseDeclared": "BSD-3-Clause"},
        {"SPDXID": "b", "name": "odd", "licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION"},
    ],
    "relationships": [{"relationshipType": "DESCRIBES", "relatedSpdxElement": "image"}],
}


def test_licences_are_listed_with_the_images_that_hold_the_package() -> None:
    found = packages_of(SPDX)
    assert found == {Package("numpy", "2.4.6", "BSD-3-Clause"), Package("odd", "", "")}
    table = licence_table({"simulator": found, "learner": {Package("numpy", "2.4.6", "BSD-3-Clause")}})
    assert table.splitlines()[-2:] == [
        "| numpy | 2.4.6 | BSD-3-Clause | simulator, learner |",
        "| odd |  | not told | simulator |",
    ]


@pytest.mark.parametrize("fails_at", ["info", "buildx"])
def test_a_docker_without_a_daemon_or_buildkit_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fails_at: str
) -> None:
    for name, script in (("docker", f'[ "$1" != {fails_at} ]'), ("podman", "exit 125"), ("buildah", "exit 0")):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert engine("").name == "buildah"
    (tmp_path / "docker").write_text("#!/bin/sh\n")
    assert engine("").name == "docker"
