"""Helm on the repository's chart."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.tools import binary

CHART = Path(__file__).parents[2] / "charts" / "stepstream"
Values = Mapping[str, Any]


class HelmFailed(AssertionError):
    """Helm ended with an error; holds what it said."""


class UniqueKeyLoader(yaml.SafeLoader):
    """As strict as the API server: a key that stands twice in a map is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key stands twice at {node.start_mark}: {keys}"
        return super().construct_mapping(node, deep)


@dataclass(frozen=True, kw_only=True, slots=True)
class Helm:
    """`kubeconfig` None renders only. `home` is where Helm may write."""

    home: Path
    kubeconfig: Path | None = None
    namespace: str = "stepstream"

    def run(self, *arguments: str, values: Values | None = None) -> str:
        """What `helm ARGUMENTS` prints. Raises HelmFailed."""
        file = self.home / "values.yaml"
        file.write_text(yaml.safe_dump(dict(values or {})))
        command = [str(binary("helm")), *arguments, *(["--values", str(file)] if values is not None else [])]
        done = subprocess.run(command, env=self._environment(), capture_output=True, text=True, timeout=180)
        if done.returncode != 0:
            raise HelmFailed(f"{' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def template(self, values: Values | None = None) -> list[dict[str, Any]]:
        """Every object that the chart renders with `values`, tests and hooks included."""
        text = self.run("template", "stepstream", str(CHART), "--namespace", self.namespace, values=values or {})
        return [found for found in yaml.load_all(text, Loader=UniqueKeyLoader) if found]

    def _environment(self) -> dict[str, str]:
        own = {"HELM_CACHE_HOME": "cache", "HELM_CONFIG_HOME": "config", "HELM_DATA_HOME": "data"}
        places = {name: str(self.home / folder) for name, folder in own.items()}
        kubeconfig = {"KUBECONFIG": str(self.kubeconfig or self.home / "none")}
        return os.environ | places | kubeconfig | {"HELM_NAMESPACE": self.namespace}


def kinds(objects: list[dict[str, Any]]) -> set[str]:
    return {found["kind"] for found in objects}


def only(objects: list[dict[str, Any]], kind: str, name: str = "stepstream") -> dict[str, Any]:
    """The one object of that kind and name."""
    (found,) = (each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name)
    return found
