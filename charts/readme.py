"""charts/stepstream/README.md, written from the chart itself: descriptions out of the `## ` comments in values.yaml,
defaults out of its values, types and bounds out of values.schema.json.

    python -m charts.readme
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent / "stepstream"
Schema = dict[str, Any]

_INTRODUCTION = """\
# The Stepstream chart

<!-- Generated from Chart.yaml, values.yaml and values.schema.json by `make docs`; change those, not this page. -->

{description}

    helm install stepstream charts/stepstream --namespace stepstream --create-namespace
    kubectl -n stepstream rollout status deployment/stepstream
    helm -n stepstream test stepstream
    kubectl apply -f examples/pong-ppo.yaml
    kubectl get tjob --watch

Needs Kubernetes {kubernetes}. `helm upgrade` brings the TrainingJob definition up to date with the operator; `helm
uninstall` leaves it, and so every job, in place (`crds.keep`). A release of the same name in the same namespace takes
it up again; another needs `--take-ownership`, or leaves it to the one that has it (`crds.enabled=false`), as a second
operator in one cluster must. In a cluster that several teams share, `watchNamespaces` gives the operator a Role in each
namespace named and no right beyond them.

What watches it: `serviceMonitor`, `podMonitor` and `prometheusRule` for the Prometheus operator, `prometheusConfig` for
a Prometheus without it, `dashboards` for Grafana. Each alert has a page in [docs/runbooks](../../docs/runbooks); what
the metrics mean is in [docs/metrics.md](../../docs/metrics.md).

## Values

A value that is not listed here is refused, by name, before anything is installed.

| value | type | default | meaning |
| --- | --- | --- | --- |
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Value:
    """One line of the table. `path` is as `--set` wants it."""

    path: str
    schema: Schema
    default: Any
    meaning: str


def values() -> Iterator[Value]:
    """Every value of values.yaml in its order; a map whose fields the schema lists is followed by them."""
    text = (CHART / "values.yaml").read_text()
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)
    schema = json.loads((CHART / "values.schema.json").read_text())
    yield from _values(root, "", schema, text.splitlines())


def _values(node: yaml.MappingNode, prefix: str, schema: Schema, lines: list[str]) -> Iterator[Value]:
    for key, content in node.value:
        path, inner = f"{prefix}{key.value}", schema["properties"][key.value]
        meaning = _comment_above(lines, key.start_mark.line)
        if isinstance(content, yaml.MappingNode) and "properties" in inner and not content.flow_style:
            if meaning:
                yield Value(path=path, schema=inner, default=None, meaning=meaning)
            yield from _values(content, f"{path}.", inner, lines)
        else:
            default = yaml.safe_load(yaml.serialize(content))
            yield Value(path=path, schema=inner, default=default, meaning=meaning)


def _comment_above(lines: list[str], line: int) -> str:
    """The `## ` lines directly above a line, joined."""
    first = line
    while first > 0 and lines[first - 1].strip().startswith("## "):
        first -= 1
    return " ".join(text.strip().removeprefix("## ") for text in lines[first:line])


def row(value: Value) -> str:
    default = "" if value.default is None else f"`{json.dumps(value.default)}`"
    return f"| `{value.path}` | {_type(value.schema)} | {default} | {value.meaning} |"


def _type(schema: Schema) -> str:
    """A type in words, with its bounds."""
    if "enum" in schema:
        return ", ".join(str(choice) for choice in schema["enum"])
    if "oneOf" in schema:
        return " or ".join(_type(choice) for choice in schema["oneOf"])
    if schema["type"] == "array":
        return f"list of {_type(schema['items'])}s"
    if schema["type"] == "object":
        return "map"
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    if low is None:
        return str(schema["type"])
    sign = ">" if "exclusiveMinimum" in schema else ">="
    return f"{schema['type']} {sign} {low}, <= {schema['maximum']}"


def render() -> str:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    kubernetes = chart["kubeVersion"].removesuffix("-0")
    introduction = _INTRODUCTION.format(description=chart["description"], kubernetes=kubernetes)
    return introduction + "\n".join(row(value) for value in values()) + "\n"


if __name__ == "__main__":
    (CHART / "README.md").write_text(render())
