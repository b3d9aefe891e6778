"""A release that goes leaves the TrainingJob definition and all jobs; what the next one finds there."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepstream_operator.runtime.client import Client
from tests.charts.releases import CRD, install
from tests.support.cluster_fixtures import create_namespace
from tests.support.helm import CHART, Helm, HelmFailed
from tests.support.running_operator import CRDS, Cluster, manifest

pytestmark = pytest.mark.control_plane
PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"


def release_of(admin: Client) -> str:
    """The name of the one that the definition belongs to."""
    definition = admin.get(CRDS, "", CRD) or {}
    return str(definition["metadata"]["annotations"]["meta.helm.sh/release-name"])


def test_the_same_release_installed_again_takes_up_the_definition_and_the_jobs_that_were_left(
    installer: Helm, admin: Client
) -> None:
    cluster = Cluster(admin, create_namespace(admin))
    install(installer)
    job = cluster.submit(manifest())
    installer.run("uninstall", "stepstream", "--wait")
    install(installer)
    found = cluster.job() or {}
    assert (found["metadata"]["uid"], release_of(admin)) == (job["metadata"]["uid"], "stepstream")


def test_another_release_is_refused_in_the_words_of_the_page_until_it_takes_the_definition_over(
    installer: Helm, admin: Client
) -> None:
    installer.run("install", "first", str(CHART))
    installer.run("uninstall", "first", "--wait")
    with pytest.raises(HelmFailed) as refused:
        install(installer)
    said = str(refused.value).partition("Error: ")[2].strip()
    assert 'current value is "first"' in said
    assert f"Error: {said}" in PAGE.read_text(), f"not in {PAGE.name}:\n{said}"
    installer.run("install", "stepstream", str(CHART), "--take-ownership")
    assert release_of(admin) == "stepstream"


def test_another_release_may_leave_the_definition_to_the_first(installer: Helm, admin: Client) -> None:
    installer.run("install", "first", str(CHART))
    installer.run("uninstall", "first", "--wait")
    install(installer, {"crds": {"enabled": False}})
    assert release_of(admin) == "first"
