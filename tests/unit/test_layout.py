"""What must hold of the tree itself, so that imports mean what they say."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("folder", ["operator", "trainer", "protos"])
def test_a_folder_of_packages_is_not_itself_a_package(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists(), f"{folder}/__init__.py would shadow a module of that name"


def test_the_standard_librarys_operator_is_found_with_the_root_on_the_path() -> None:
    found = subprocess.check_output(
        [
            sys.executable,
            "-S",
            "-c",
            f"import sys; sys.path.insert(0, {str(ROOT)!r}); import operator; print(operator.__file__)",
        ],
        text=True,
    )
    assert not Path(found.strip()).is_relative_to(ROOT)


@pytest.mark.parametrize("package", ["stepstream_trainer", "stepstream_trainer.simulator", "stepstream_trainer.config"])
def test_importing_what_a_simulator_needs_does_not_import_torch(package: str) -> None:
    loaded = subprocess.check_output(
        [sys.executable, "-c", f"import sys, {package}; print('torch' in sys.modules)"], text=True
    )
    assert loaded.strip() == "False"
