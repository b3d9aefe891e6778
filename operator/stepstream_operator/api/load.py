"""From a manifest, a file or a text to a TrainingJob. Everything that is wrong is said at once."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stepstream_operator.api.template_rules import template_errors
from stepstream_operator.api.types import API_VERSION, KIND, Metadata, TrainingJob, TrainingJobSpec
from stepstream_operator.api.yaml_text import YamlDocument, YamlError, read_documents, read_value
from stepstream_trainer.config import ASYNC_NAMES, ConfigurationErrors, FieldError, Mode, parse
from stepstream_trainer.config.errors import NOT_GIVEN, did_you_mean

_KNOWN_TOP_LEVEL = ("apiVersion", "kind", "metadata", "spec", "status")
_METADATA_OF_THE_SERVER = (
    "resourceVersion",
    "managedFields",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "finalizers",
    "ownerReferences",
    "generateName",
    "selfLink",
)
ASYNC_ONLY = "must not be Sync beside A3C or APPO, the asynchronous variants of A2C and PPO"


def load_job(source: str | Path, overrides: Sequence[str] = ()) -> TrainingJob:
    """The job of a file, or of a text (anything with a line break in it), with `path=value` overrides applied first.

    Raises `ConfigurationErrors`, whose errors carry file and line where these are known.
    """
    text, name = _text_of(source)
    try:
        document = _only_document(read_documents(text), name)
    except YamlError as error:
        raise _only(path="", problem=error.problem, location=f"{name}:{error.line}" if error.line else name) from error
    locations = {path: f"{name}:{line}" for path, line in document.lines.items()}
    for override in overrides:
        locations |= _apply_override(document.value, override)
    try:
        return parse_job(document.value)
    except ConfigurationErrors as refused:
        raise ConfigurationErrors(_located(refused.errors, locations, name)) from None


def parse_job(manifest: object) -> TrainingJob:
    """The job of a manifest, as the API server gives it or a user wrote it. Raises `ConfigurationErrors`."""
    if not isinstance(manifest, Mapping):
        raise _only(path="", value=manifest, problem="must be a TrainingJob, an object with apiVersion, kind and spec")
    foreign = list(_kind_errors(manifest))
    if foreign:
        raise ConfigurationErrors(foreign)
    errors = list(_unknown_top_level(manifest))
    metadata = _collect(errors, _parse_metadata, manifest.get("metadata", {}))
    spec = _collect(errors, _parse_spec, manifest.get("spec", {}))
    if errors:
        raise ConfigurationErrors(errors)
    return TrainingJob(metadata=metadata, spec=spec)


def _parse_metadata(given: object) -> Metadata:
    if isinstance(given, Mapping):
        given = {
            name: value for name, value in given.items() if value is not None and name not in _METADATA_OF_THE_SERVER
        }
    return parse(Metadata, given, path="metadata")


def _parse_spec(given: object) -> TrainingJobSpec:
    resolved, errors = _resolve_async_names(given)
    spec = _collect(errors, lambda value: parse(TrainingJobSpec, value, path="spec"), resolved)
    if spec is not None:
        errors.extend(template_errors(spec))
    if errors:
        raise ConfigurationErrors(errors)
    assert isinstance(spec, TrainingJobSpec)
    return spec


def _resolve_async_names(spec: object) -> tuple[object, list[FieldError]]:
    """A3C and APPO imply mode Async; the API server's default, Auto, gives way to it."""
    if not isinstance(spec, Mapping) or not _is_async(spec.get("algorithm")):
        return spec, []
    if spec.get("mode") == Mode.Sync:
        return spec, [FieldError(path="spec.mode", problem=ASYNC_ONLY)]
    if spec.get("mode") in (None, Mode.Auto):
        return {**spec, "mode": Mode.Async.value}, []
    return spec, []


def _is_async(algorithm: object) -> bool:
    name = algorithm.get("name") if isinstance(algorithm, Mapping) else None
    return isinstance(name, str) and name in ASYNC_NAMES


def _kind_errors(manifest: Mapping[str, Any]) -> Iterator[FieldError]:
    for name, right in (("apiVersion", API_VERSION), ("kind", KIND)):
        if manifest.get(name) != right:
            yield FieldError(path=name, value=manifest.get(name, NOT_GIVEN), problem=f"must be {right}")


def _unknown_top_level(manifest: Mapping[str, Any]) -> Iterator[FieldError]:
    for name in manifest:
        if name not in _KNOWN_TOP_LEVEL:
            yield FieldError(path=str(name), problem="unknown field", expected=did_you_mean(name, _KNOWN_TOP_LEVEL))


def _collect(errors: list[FieldError], read: Any, given: object) -> Any:
    try:
        return read(given)
    except ConfigurationErrors as refused:
        errors.extend(refused.errors)
        return None


def _text_of(source: str | Path) -> tuple[str, str]:
    if isinstance(source, str) and "\n" in source:
        return source, "job"
    try:
        return Path(source).read_text(encoding="utf-8"), str(source)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise _only(path="", location=str(source), problem=f"cannot be read: {reason}") from error


def _only_document(documents: list[YamlDocument], name: str) -> YamlDocument:
    if len(documents) != 1:
        raise _only(path="", location=name, problem=f"must hold one TrainingJob, holds {len(documents)} documents")
    return documents[0]


def _apply_override(manifest: Any, override: str) -> dict[str, str]:
    """Set one `path=value` in place; gives the location, for errors, of every field that it made."""
    path, separator, text = override.partition("=")
    location = f"--set {override}"
    if not separator or not path.startswith(("spec.", "metadata.")):
        raise _only(
            path="", location=location, problem="must be spec.<field>=<value>, such as spec.learners.replicas=2"
        )
    try:
        value = read_value(text)
    except YamlError as error:
        raise _only(path=path, location=location, problem=error.problem) from error
    made = _set_at(manifest, path, value)
    if not made:
        raise _only(path=path, location=location, problem="cannot be set: what is around it is not an object")
    return dict.fromkeys(made, location)


def _set_at(target: Any, path: str, value: Any) -> list[str]:
    """Set the value (null removes the field) and the objects around it; the paths made, none where it cannot be."""
    names = path.split(".")
    made = []
    for depth, name in enumerate(names[:-1], start=1):
        if not isinstance(target, dict):
            return []
        if target.get(name) is None:
            target[name] = {}
            made.append(".".join(names[:depth]))
        target = target[name]
    if not isinstance(target, dict):
        return []
    if value is None:
        target.pop(names[-1], None)
    else:
        target[names[-1]] = value
    return [*made, path]


def _located(errors: Sequence[FieldError], locations: Mapping[str, str], name: str) -> Iterator[FieldError]:
    for error in errors:
        yield dataclasses.replace(error, location=_location(error.path, locations) or name)


def _location(path: str, locations: Mapping[str, str]) -> str:
    """Where the field stands, or else the nearest object around it."""
    while path and path not in locations:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return locations.get(path, "")


def _only(**error: Any) -> ConfigurationErrors:
    return ConfigurationErrors([FieldError(**error)])
