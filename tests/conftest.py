"""Tests marked `gpu` run where a CUDA device is, and are left out, with the reason printed, where none is."""

import pytest
from hypothesis import settings

settings.register_profile("stepstream", deadline=None)  # a busy machine is not a failure
settings.load_profile("stepstream")

pytest_plugins = ["tests.support.cluster_fixtures"]

_LEFT_OUT = pytest.StashKey[int]()


def _cuda_device_present() -> bool:
    import torch  # only when a GPU test was collected: it takes seconds

    return torch.cuda.is_available()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--thorough", action="store_true", help="sweeps that sample by default try every point")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if not on_gpu or _cuda_device_present():
        return
    config.stash[_LEFT_OUT] = len(on_gpu)
    config.hook.pytest_deselected(items=on_gpu)
    items[:] = [item for item in items if item not in on_gpu]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    left_out = terminalreporter.config.stash.get(_LEFT_OUT, 0)
    if left_out:
        terminalreporter.write_line(f"{left_out} GPU tests left out: this machine has no CUDA device")
