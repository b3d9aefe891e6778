"""YAML as kubectl reads it, with the line of every field.

Differences to PyYAML's own reading: `1e6` is a number, a date and `1:30` are text, and a name given twice is an error.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

_INT: Final = re.compile(r"^[-+]?(0|[1-9][0-9_]*)$")
_FLOAT: Final = re.compile(
    r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"
)
_REPLACED_TAGS: Final = ("timestamp", "int", "float")


@dataclass(frozen=True, kw_only=True, slots=True)
class YamlError(ValueError):
    """Text that is not YAML, or says one thing twice. `line` counts from 1; 0 where none is known."""

    problem: str
    line: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class YamlDocument:
    """Plain values, and for each path (`spec.learners.replicas`) the line its name stands on, from 1."""

    value: Any
    lines: dict[str, int] = field(default_factory=dict)


_MERGE: Final = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    pass


def _is_replaced(tag: str) -> bool:
    return tag.rsplit(":", 1)[-1] in _REPLACED_TAGS


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not _is_replaced(tag)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def read_documents(text: str) -> list[YamlDocument]:
    """All documents of a text that are not empty. Raises `YamlError`."""
    try:
        return list(_documents(_Loader(text)))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise YamlError(problem=f"is not YAML: {error.problem}", line=line) from error
    except YamlError:
        raise
    except (yaml.YAMLError, ValueError, TypeError, AttributeError) as error:  # the last three: of odd tags
        raise YamlError(problem=f"is not YAML: {error}") from error
    except RecursionError as error:
        raise YamlError(problem="is nested too deeply, or refers to itself") from error


def read_value(text: str) -> Any:
    """One value, as in `--set name=value`. Raises `YamlError`."""
    documents = read_documents(text)
    return documents[0].value if documents else None


def _documents(loader: _Loader) -> Iterator[YamlDocument]:
    while loader.check_node():
        node = loader.get_node()
        assert node is not None
        lines: dict[str, int] = {}
        value = _plain(loader, node, "", lines)
        if value is not None:
            yield YamlDocument(value=value, lines=lines)


def _plain(loader: _Loader, node: yaml.Node, path: str, lines: dict[str, int]) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _plain_mapping(loader, node, path, lines)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(loader, item, f"{path}[{index}]", lines) for index, item in enumerate(node.value)]
    return loader.construct_object(node)


def _plain_mapping(loader: _Loader, node: yaml.MappingNode, path: str, lines: dict[str, int]) -> dict[Any, Any]:
    names: set[str] = set()
    for key_node, _ in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise YamlError(
                problem="a name must be a plain word (is this a template that was not rendered?)", line=line
            )
        if key_node.value in names and key_node.tag != _MERGE:
            raise YamlError(problem=f"{key_node.value} is given twice", line=line)
        names.add(key_node.value)
    values: dict[Any, Any] = {}
    for key_node, value_node in _merged(loader, node):
        key_path = f"{path}.{key_node.value}" if path else key_node.value
        lines[key_path] = key_node.start_mark.line + 1
        values[key_node.value] = _plain(loader, value_node, key_path, lines)
    return values


def _merged(loader: _Loader, node: yaml.MappingNode) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    """What `<<` merges in, and what is given here, which comes before that; the same whenever an alias leads here."""
    loader.flatten_mapping(node)
    node.value = list({key_node.value: (key_node, value_node) for key_node, value_node in node.value}.values())
    yield from node.value
