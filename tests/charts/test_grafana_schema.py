"""The dashboards' JSON is what Grafana's schema says a dashboard is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.dashboards import DASHBOARDS
from tests.support.grafana_schema import faults

WRONG: dict[str, Any] = {
    "graphTooltip": 7,
    "tooltip": 1,
    "refresh": 30,
    "panels/1/unit": "s",
    "panels/1/gridPos/w": "4",
    "panels/1/options/graphMode": "areas",
    "panels/1/targets/0/instant": "no",
    "panels/1/targets/0/promql": "up",
    "panels/7/fieldConfig/defaults/custom/showPoints": "seldom",
    "panels/7/fieldConfig/defaults/custom/lineThickness": 1,
    "panels/7/options/legend/placement": "below",
    "templating/list/1/refresh": 3,
    "links/0/asDropdown": "yes",
}
"""Place -> what Grafana would not understand there."""


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_grafanas_schema_has_every_field_of_a_dashboard_and_its_type(path: Path) -> None:
    assert faults(json.loads(path.read_text())) == []


@pytest.mark.parametrize("place", WRONG)
def test_what_the_schema_does_not_have_is_seen(place: str) -> None:
    dashboard = json.loads(next(path for path in DASHBOARDS if path.stem == "job").read_text())
    *way, name = place.split("/")
    found = dashboard
    for step in way:
        found = found[int(step)] if isinstance(found, list) else found[step]
    found[name] = WRONG[place]
    assert len(faults(dashboard)) == 1
