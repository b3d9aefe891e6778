"""Writes the requirements of each role, as pyproject.toml has them: python3 requirements.py PYPROJECT DIRECTORY

A change of pyproject.toml that leaves them as they were leaves these files as they were, and so the images' layers.
"""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path(sys.argv[1]).read_text())["project"]
extras = project["optional-dependencies"]
learner = [
    line for line in extras["learner"] if not line.startswith("stepstream[")
]  # its image is a simulator's, and more
roles = {
    "operator": project["dependencies"] + extras["operator"],
    "simulator": project["dependencies"] + extras["simulator"],
    "torch": [line for line in learner if line.startswith("torch>")],
    "learner": learner,
}
directory = Path(sys.argv[2])
directory.mkdir()
for role, lines in roles.items():
    (directory / f"{role}.txt").write_text("\n".join(sorted(lines)) + "\n")
