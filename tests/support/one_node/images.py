"""Images onto the node: from buildah's store, and those of the cluster's own programs, made from nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from charts.images.build import FORGETFUL, STORE_IN_NAMES, Engine, engine
from tests.support.one_node import namespaces, places
from tests.support.one_node.node import PAUSE_IMAGE, ctr
from tests.support.tools import binary

CONTENT = places.root() / "containerd" / "io.containerd.content.v1.content" / "blobs" / "sha256"
"""Where containerd keeps what it imported."""
NAME = "org.opencontainers.image.ref.name"
COREDNS_IMAGE = "localhost/stepstream/coredns:1"
PAUSE = """
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int signal) { _exit(0); }
static void reap(int signal) { while (waitpid(-1, 0, WNOHANG) > 0); }
int main(void) {
  signal(SIGINT, end);
  signal(SIGTERM, end);
  signal(SIGCHLD, reap);
  for (;;) pause();
}
"""
"""Holds a pod's namespaces."""


def make_own_images() -> None:
    """Those of the cluster's own pods, once."""
    buildah = engine("buildah")
    if not buildah.has(PAUSE_IMAGE):
        with tempfile.TemporaryDirectory() as scratch:
            program = Path(scratch, "pause")
            command = ["cc", "-Os", "-static", "-s", "-x", "c", "-", "-o", str(program)]
            subprocess.run(command, input=PAUSE, text=True, check=True)
            _of_one_program(buildah, PAUSE_IMAGE, program)
    if not buildah.has(COREDNS_IMAGE):
        _of_one_program(buildah, COREDNS_IMAGE, binary("coredns"))


def put_program(image: str, name: str) -> None:
    """An image of one of our programs and nothing else, made where there is none yet, onto the node."""
    buildah = engine("buildah")
    if not buildah.has(image):
        _of_one_program(buildah, image, binary(name))
    load([image])


def _of_one_program(buildah: Engine, image: str, program: Path) -> None:
    with tempfile.TemporaryDirectory() as context:
        shutil.copy(program, context)
        name = program.name
        Path(context, "Dockerfile").write_text(f'FROM scratch\nCOPY {name} /{name}\nENTRYPOINT ["/{name}"]\n')
        buildah.build(image, Path(context))


def load(images: Iterable[str]) -> None:
    """Puts images of buildah's store onto the node: of their layers only what it does not have."""
    layout = places.folder("images")
    for image in images:
        source, destination = f"containers-storage:{STORE_IN_NAMES}{image}", f"oci:{layout}:{image}"
        # Not compressed, a layer is known by its digest, and left out where the layout has it.
        command = [
            *FORGETFUL,
            "skopeo",
            "copy",
            "--quiet",
            "--dest-oci-accept-uncompressed-layers",
            source,
            destination,
        ]
        subprocess.run(command, check=True)
    wanted = drop_replaced(layout)
    files = ["oci-layout", "index.json", *(f"blobs/sha256/{name}" for name in sorted(wanted - _of_the_nodes_images()))]
    taking = namespaces.inside(*ctr("images", "import", "-"))
    with subprocess.Popen(["tar", "-C", str(layout), "-cf", "-", *files], stdout=subprocess.PIPE) as archive:
        subprocess.run(taking, stdin=archive.stdout, stdout=subprocess.DEVNULL, check=True)
    assert archive.returncode == 0, "tar failed"
    for name in wanted:
        share(layout / "blobs" / "sha256" / name, CONTENT / name)


def share(blob: Path, of_the_node: Path) -> None:
    """One file for both: a learner's layers have 5 GB. The layout has them so that the next push leaves them out."""
    if of_the_node.exists() and not blob.samefile(of_the_node):
        linked = blob.with_suffix(".linked")
        linked.hardlink_to(of_the_node)
        linked.replace(blob)


def drop_replaced(layout: Path) -> set[str]:
    """Removes images whose name another one has taken: skopeo leaves them, without a name. The blobs of the others."""
    index = _read(layout / "index.json")
    index["manifests"] = [image for image in index["manifests"] if NAME in image.get("annotations", {})]
    (layout / "index.json").write_text(json.dumps(index))
    folder = layout / "blobs" / "sha256"
    wanted = {name for image in index["manifests"] for name in _blobs(folder, image["digest"])}
    for blob in folder.iterdir():
        if blob.name not in wanted:
            blob.unlink()
    return wanted


def _of_the_nodes_images() -> set[str]:
    """The blobs that stay: containerd removes what is of no image at a time of its own, also while we look."""
    lines = namespaces.run(*ctr("images", "list")).splitlines()[1:]
    manifests = {line.split()[2] for line in lines}
    return {name for manifest in manifests for name in _blobs(CONTENT, manifest) if (CONTENT / name).exists()}


def _blobs(folder: Path, digest: str) -> Iterator[str]:
    """Of an image: its manifest, its configuration, its layers."""
    name = digest.removeprefix("sha256:")
    manifest = _read(folder / name)
    yield name
    for part in (manifest["config"], *manifest["layers"]):
        yield part["digest"].removeprefix("sha256:")


def _read(file: Path) -> Any:
    return json.loads(file.read_text())
