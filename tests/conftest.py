"""What concerns every test: which are left out where there is no GPU, and which run beside which.

`make test` runs as many tests at a time as there are cores. Tests of one module share its fixtures and run one after
the other where they name no group of their own, and so do all that need a control plane, of which there is one.
"""

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("stepstream", deadline=None)  # a busy machine is not a failure
settings.load_profile("stepstream")

pytest_plugins = ["tests.support.last_lines", "tests.support.cluster_fixtures"]

LONGEST_FIRST = ("cluster", "control_plane", "charts", "e2e", "data_plane", "unit")
"""Folders of tests: what is begun last decides how long a core has nothing to do."""
ON_CONTROL_PLANES = {"control_plane", "charts"}
PROGRAMS = {"charts": ("helm", "promtool"), "cluster": ("helm",)}
"""What tests in these folders need, beside those on a control plane."""


def _cuda_device_present() -> bool:
    import torch  # only when a GPU test was collected: it takes seconds

    return torch.cuda.is_available()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--thorough", action="store_true", help="sweeps that sample by default try every point")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST_FIRST.index(_folder(item.path)))
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            on_control_plane = _folder(item.path) in ON_CONTROL_PLANES
            item.add_marker(pytest.mark.xdist_group("control plane" if on_control_plane else item.path.stem))
    _leave_out_gpu_tests(config, items)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Builds what is missing of the programs that the tests need: no test's own time goes by meanwhile."""
    from tests.support.tools import CONTROL_PLANE_PROGRAMS, binary

    wanted: set[str] = set()
    for item in session.items:
        if item.get_closest_marker("control_plane"):
            wanted.update(CONTROL_PLANE_PROGRAMS)
        wanted.update(PROGRAMS.get(_folder(item.path), ()))
    capture = session.config.pluginmanager.getplugin("capturemanager")
    if session.config.option.collectonly or capture is None:
        return
    with capture.global_and_fixture_disabled():  # it is told what is built
        for program in sorted(wanted):
            binary(program)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Tests on control planes come first, so what follows them needs none."""
    from tests.support.cluster_fixtures import stop_control_planes

    if nextitem is not None and _folder(nextitem.path) not in ON_CONTROL_PLANES:
        stop_control_planes(item.config)


def _folder(path: Path) -> str:
    return path.relative_to(Path(__file__).parent).parts[0]


def _leave_out_gpu_tests(config: pytest.Config, items: list[pytest.Item]) -> None:
    from tests.support.last_lines import tell  # a plugin: pytest wants to be the first to import it

    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if not on_gpu or _cuda_device_present():
        return
    tell(config, f"{len(on_gpu)} GPU tests left out: this machine has no CUDA device")
    config.hook.pytest_deselected(items=on_gpu)
    items[:] = [item for item in items if item not in on_gpu]
