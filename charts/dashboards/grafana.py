"""As much of Grafana's dashboard model as ours use, and their JSON.

A dashboard is rows of panels; a panel is a title, a sentence on how to read it, and queries. Positions, identifiers and
everything that is the same in all panels are filled in here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

COLUMNS = 24  # of Grafana's grid
SCHEMA_VERSION = 39  # Grafana 11
DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """PromQL, and the legend of its series. `instant` asks for the newest value alone, as stats and tables want it."""

    promql: str
    legend: str = ""
    instant: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """`unit` is one of Grafana's: s, percentunit, short, none. `help` says what is good and what is not."""

    title: str
    help: str
    queries: Sequence[Query]
    unit: str = "short"
    width: int = 8
    height: int = 8

    kind = "timeseries"

    def json(self) -> Json:
        defaults = {"unit": self.unit, "custom": self.custom()}
        return {
            "type": self.kind,
            "title": self.title,
            "description": self.help,
            "datasource": DATASOURCE,
            "fieldConfig": {"defaults": defaults, "overrides": self.overrides()},
            "options": self.options(),
            "targets": [self._target(query, ref) for query, ref in zip(self.queries, "ABCDEFGH", strict=False)],
            "transformations": self.transformations(),
        }

    def custom(self) -> Json:
        return {"lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": False}

    def options(self) -> Json:
        return {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }

    def overrides(self) -> list[Json]:
        return []

    def transformations(self) -> list[Json]:
        return []

    def _target(self, query: Query, ref: str) -> Json:
        form = "table" if self.kind == "table" else "time_series"
        return {
            "refId": ref,
            "datasource": DATASOURCE,
            "expr": query.promql,
            "legendFormat": query.legend or "__auto",
            "instant": query.instant,
            "range": not query.instant,
            "format": form,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Stacked(Panel):
    """Parts of a whole: the series add up to 1."""

    unit: str = "percentunit"

    def custom(self) -> Json:
        return {"lineWidth": 0, "fillOpacity": 60, "showPoints": "never", "stacking": {"mode": "normal", "group": "A"}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Stat(Panel):
    """One number of now, with its history behind it."""

    width: int = 4
    height: int = 4

    kind = "stat"

    def custom(self) -> Json:
        return {}

    def options(self) -> Json:
        return {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "graphMode": "area",
            "colorMode": "value",
            "textMode": "auto",
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """Of a table: what the query of the same position gives, in its unit."""

    title: str
    unit: str = "short"


@dataclass(frozen=True, kw_only=True, slots=True)
class Table(Panel):
    """One row for each set of labels that the queries share; a column for each label, and one for each query."""

    columns: Sequence[Column] = ()
    width: int = COLUMNS
    height: int = 10

    kind = "table"

    def custom(self) -> Json:
        return {"align": "auto", "filterable": True}

    def options(self) -> Json:
        return {"showHeader": True, "cellHeight": "sm"}

    def overrides(self) -> list[Json]:
        return [
            {
                "matcher": {"id": "byName", "options": column.title},
                "properties": [{"id": "unit", "value": column.unit}],
            }
            for column in self.columns
        ]

    def transformations(self) -> list[Json]:
        names = {f"Value #{ref}": column.title for ref, column in zip("ABCDEFGH", self.columns, strict=False)}
        return [
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": names}},
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A heading, and the panels beneath it from left to right."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, kw_only=True, slots=True)
class Variable:
    """A choice at the top of the dashboard, filled from a Prometheus query for label values."""

    name: str
    label: str
    values: str

    def json(self) -> Json:
        return {
            "type": "query",
            "name": self.name,
            "label": self.label,
            "datasource": DATASOURCE,
            "query": {"query": self.values, "refId": self.name},
            "refresh": 2,
            "sort": 1,
            "multi": False,
            "includeAll": False,
            "current": {},
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Dashboard:
    """`uid` names the file, and the dashboard in links."""

    uid: str
    title: str
    description: str
    variables: Sequence[Variable]
    rows: Sequence[Row]

    def json(self) -> Json:
        source = {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus"}
        return {
            "uid": f"stepstream-{self.uid}",
            "title": self.title,
            "description": self.description,
            "tags": ["stepstream"],
            "schemaVersion": SCHEMA_VERSION,
            "editable": True,
            "graphTooltip": 1,
            "time": {"from": "now-3h", "to": "now"},
            "refresh": "30s",
            "templating": {"list": [{**source, "current": {}}, *(variable.json() for variable in self.variables)]},
            "links": [
                {
                    "type": "dashboards",
                    "tags": ["stepstream"],
                    "title": "Stepstream",
                    "asDropdown": True,
                    "keepTime": True,
                }
            ],
            "panels": list(_placed(self.rows)),
        }


def _placed(rows: Sequence[Row]) -> Iterator[Json]:
    """Panels with identifiers and places on the grid, wrapped where a row is full."""
    identifier, top = 0, 0
    for row in rows:
        identifier += 1
        place = {"x": 0, "y": top, "w": COLUMNS, "h": 1}
        yield {"id": identifier, "type": "row", "title": row.title, "collapsed": False, "panels": [], "gridPos": place}
        top, left, height = top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                top, left, height = top + height, 0, 0
            identifier += 1
            place = {"x": left, "y": top, "w": panel.width, "h": panel.height}
            yield {"id": identifier, "gridPos": place, **panel.json()}
            left, height = left + panel.width, max(height, panel.height)
        top += height
