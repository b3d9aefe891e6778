"""Prometheus' own reading of rules and of what they make of series."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.tools import binary

FIRING = 'sum by (alertname) (ALERTS{alertstate="firing"})'


@dataclass(frozen=True, kw_only=True, slots=True)
class Promtool:
    """`rules` is a rule file; `home` is where tests of it may be written."""

    rules: Path
    home: Path

    def check(self) -> str:
        """What it says of the rules, parsed strictly. AssertionError where it finds fault with them.

        Two rules of one name, as they are here where a series may be old or missing, would be one to its linter.
        """
        return self._run("check", "rules", "--lint=none", str(self.rules))

    def assert_firing(self, alerts: Iterable[str], *, series: Mapping[str, str], minutes: int) -> None:
        """These alerts and no others fire once `series`, of one value a minute in promtool's notation, are that old."""
        samples = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in alerts]
        self._test(
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [{"expr": FIRING, "eval_time": f"{minutes}m", "exp_samples": samples}],
            }
        )

    def _test(self, group: Mapping[str, Any]) -> None:
        file = self.home / "test.yaml"
        file.write_text(yaml.safe_dump({"rule_files": [str(self.rules)], "tests": [group]}))
        self._run("test", "rules", str(file))

    def _run(self, *arguments: str) -> str:
        done = subprocess.run([str(binary("promtool")), *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        return done.stdout
