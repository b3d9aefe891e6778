"""What the one-node cluster says and writes before anything is started."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import pytest

from tests.support.one_node import __main__ as command
from tests.support.one_node import images, node, places


def test_containerds_settings_are_toml_that_says_the_same() -> None:
    settings = {"version": 2, "grpc": {"address": "/run/a"}, "plugins": {"io.a.b": {"on": True, "cni": {"dir": "/x"}}}}
    assert tomllib.loads("\n".join(node.toml(settings))) == settings


def test_who_is_not_root_is_told_of_the_other_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SystemExit, match="KUBECONFIG"):
        command.up()


def test_missing_programs_are_named_with_the_packages_that_bring_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(SystemExit, match=r"missing: containerd, .*apt-get install .*containernetworking-plugins"):
        command.up()


def test_a_layer_that_the_node_has_already_takes_no_room_twice(tmp_path: Path) -> None:
    blob, of_the_node = tmp_path / "blob", tmp_path / "of-the-node"
    for file in (blob, of_the_node):
        file.write_text("layer")
    images.share(blob, of_the_node)
    assert blob.samefile(of_the_node)
    images.share(blob, tmp_path / "not-imported")
    assert blob.read_text() == "layer"


def test_an_image_that_another_has_replaced_leaves_the_layout(tmp_path: Path) -> None:
    named = {"annotations": {images.NAME: "localhost/stepstream/learner:1"}}
    kept, replaced = _image(tmp_path, "new"), _image(tmp_path, "old")
    entries = [named | {"digest": f"sha256:{kept[0]}"}, {"digest": f"sha256:{replaced[0]}"}]
    (tmp_path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    assert images.drop_replaced(tmp_path) == {*kept, "base"}
    assert {blob.name for blob in tmp_path.glob("blobs/sha256/*")} == {*kept, "base"}
    assert json.loads((tmp_path / "index.json").read_text()) == {"schemaVersion": 2, "manifests": entries[:1]}


def _image(layout: Path, name: str) -> tuple[str, ...]:
    """The names of its own blobs; one layer is of all images."""
    folder = layout / "blobs" / "sha256"
    folder.mkdir(parents=True, exist_ok=True)
    manifest, config, layer = own = (name, f"{name}-config", f"{name}-layer")
    for blob in (config, layer, "base"):
        (folder / blob).touch()
    parts = {
        "config": {"digest": f"sha256:{config}"},
        "layers": [{"digest": f"sha256:{part}"} for part in ("base", layer)],
    }
    (folder / manifest).write_text(json.dumps(parts))
    return own


def test_the_names_of_the_cluster_are_known_where_its_manifests_use_them() -> None:
    manifests = (Path(node.__file__).parent / "manifests.yaml").read_text()
    assert f"clusterIP: {places.DNS_ADDRESS}\n" in manifests
    assert f"image: {images.COREDNS_IMAGE}\n" in manifests
