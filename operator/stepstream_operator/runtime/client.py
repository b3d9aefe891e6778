"""Requests to the API server: plain dicts in and out, one timeout each, no retries.

Configuration, authentication, TLS and connections are the `kubernetes` package's; its models and typed calls are not
used (they refuse valid pod templates and drop unknown fields). A failed request is the caller's to repeat: the work
queue backs off per job, the reflector per watch.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol
from urllib.parse import urlencode

import kubernetes.client
import kubernetes.config
import urllib3

from stepstream_operator.runtime.errors import ApiError, Unreachable
from stepstream_operator.runtime.resources import Object, Resource
from stepstream_operator.runtime.server_clock import ServerClock

CONNECT_TIMEOUT_SECONDS = 5.0
REQUEST_TIMEOUT_SECONDS = 15.0
FIELD_MANAGER = "stepstream-operator"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
JSON = "application/json"
# Of a pod's fields none lies deeper than some 15 levels, and jobs with deeper free-form fields than 64 are refused
# (`MAX_NESTING`): what is cut off below this is nothing that is worked with.
MAX_DEPTH = 200
_STRINGS_AND_BRACKETS = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[{\]}]', re.DOTALL)


class RequestObserver(Protocol):
    def __call__(self, *, verb: str, resource: str, code: str, seconds: float) -> None: ...


def load_configuration(kubeconfig: str | None = None, context: str | None = None) -> kubernetes.client.Configuration:
    """The pod's service account where there is one and no file is named; else a kubeconfig file.

    Raises kubernetes.config.ConfigException where neither is usable.
    """
    source: Any = kubernetes.config  # its functions have no types
    configuration = kubernetes.client.Configuration()
    if kubeconfig is None and context is None:
        try:
            source.load_incluster_config(client_configuration=configuration)
        except kubernetes.config.ConfigException:
            source.load_kube_config(client_configuration=configuration)
    else:
        source.load_kube_config(config_file=kubeconfig, context=context, client_configuration=configuration)
    configuration.keep_alive = True
    return configuration


class Client:
    """Thread-safe. `before_write` is called ahead of every request that changes something and may refuse it."""

    def __init__(
        self,
        configuration: kubernetes.client.Configuration,
        *,
        timeout_seconds: float = REQUEST_TIMEOUT_SECONDS,
        connections: int = 32,
        on_request: RequestObserver | None = None,
        before_write: Callable[[], None] | None = None,
    ) -> None:
        configuration.connection_pool_maxsize = connections
        self._configuration = configuration
        self._pool: urllib3.PoolManager = kubernetes.client.ApiClient(configuration).rest_client.pool_manager
        self._timeout_seconds = timeout_seconds
        self._on_request = on_request
        self.clock = ServerClock()
        self.before_write = before_write

    def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """The object, or None where there is none."""
        try:
            return self._call("get", resource, "GET", resource.path(namespace, name))
        except ApiError as error:
            if error.is_not_found:
                return None
            raise

    def list_page(self, resource: Resource, namespace: str | None, query: Mapping[str, str]) -> Object:
        return self._call("list", resource, "GET", resource.path(namespace), query=query)

    def create(self, resource: Resource, namespace: str, body: Object, *, dry_run: bool = False) -> Object:
        query = {"fieldManager": FIELD_MANAGER} | ({"dryRun": "All"} if dry_run else {})
        path = resource.path(namespace)
        return self._call("create", resource, "POST", path, query=query, body=body, content_type=JSON)

    def apply(self, resource: Resource, namespace: str, body: Object, *, dry_run: bool = False) -> Object:
        """Server-side apply as the one field owner of what `body` names."""
        query = {"fieldManager": FIELD_MANAGER, "force": "true"} | ({"dryRun": "All"} if dry_run else {})
        path = resource.path(namespace, body["metadata"]["name"])
        return self._call("apply", resource, "PATCH", path, query=query, body=body, content_type=APPLY)

    def merge(
        self, resource: Resource, namespace: str, name: str, body: Object, *, subresource: str | None = None
    ) -> Object:
        """JSON merge patch; a `metadata.resourceVersion` in `body` makes it conditional."""
        path = resource.path(namespace, name, subresource)
        query = {"fieldManager": FIELD_MANAGER}
        return self._call("patch", resource, "PATCH", path, query=query, body=body, content_type=MERGE)

    def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        preconditions: Mapping[str, str] | None = None,
        propagation: str = "Background",
    ) -> None:
        """Deletes it with its dependents after it (`Background`) or before it (`Foreground`). Absent: no error."""
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        body |= {"preconditions": dict(preconditions)} if preconditions else {}
        try:
            self._call("delete", resource, "DELETE", resource.path(namespace, name), body=body, content_type=JSON)
        except ApiError as error:
            if not error.is_not_found:
                raise

    def watch(
        self, resource: Resource, namespace: str | None, query: Mapping[str, str], *, read_timeout_seconds: float
    ) -> Iterator[Object]:
        """Events of one watch until the server ends it. Raises Unreachable after that long without a byte."""
        path = resource.path(namespace)
        with self._open("watch", resource.plural, "GET", path, query, None, None, read_timeout_seconds) as answer:
            self._raise_for_status(answer)
            try:
                yield from _decoded_lines(answer)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise Unreachable(f"watch of {resource.plural} broke: {error!r}") from error
            finally:
                # Without this the pool would read the endless rest of the answer to reuse its connection.
                answer.close()

    def _call(
        self,
        verb: str,
        resource: Resource,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str | None = None,
    ) -> Object:
        data = self._request(verb, resource.plural, method, path, query=query, body=body, content_type=content_type)
        return _decoded(data)

    def _request(
        self,
        verb: str,
        plural: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str | None = None,
    ) -> bytes:
        if method != "GET" and self.before_write is not None:
            self.before_write()
        with self._open(verb, plural, method, path, query, body, content_type, self._timeout_seconds) as answer:
            self._raise_for_status(answer)
            try:
                return answer.read()
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise Unreachable(f"{method} {path}: {error!r}") from error

    def _open(
        self,
        verb: str,
        plural: str,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Object | None,
        content_type: str | None,
        read_timeout_seconds: float,
    ) -> urllib3.BaseHTTPResponse:
        url = self._configuration.host + path + (f"?{urlencode(query)}" if query else "")
        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_SECONDS, read=read_timeout_seconds)
        # Not ASCII: an apply is read as YAML, which knows no surrogate pairs, so "\\ud83d\\ude00" would be refused.
        encoded = json.dumps(body, ensure_ascii=False).encode() if body is not None else None
        started, code = time.monotonic(), "<error>"
        try:
            answer = self._pool.request(
                method,
                url,
                body=encoded,
                headers=self._headers(content_type),
                timeout=timeout,
                retries=False,
                preload_content=False,
            )
            code = str(answer.status)
            self.clock.heard(answer.headers.get("Date"))
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unreachable(f"{method} {path}: {error!r}") from error
        finally:
            if self._on_request is not None:
                self._on_request(verb=verb, resource=plural, code=code, seconds=time.monotonic() - started)
        return answer

    def _headers(self, content_type: str | None) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": FIELD_MANAGER}
        if content_type is not None:
            headers["Content-Type"] = content_type
        # Asks the configuration each time, so that a rotated service account token is picked up.
        for setting in _auth_settings(self._configuration):
            headers[setting["key"]] = setting["value"]
        return headers

    @staticmethod
    def _raise_for_status(answer: urllib3.BaseHTTPResponse) -> None:
        if answer.status < 400:
            return
        try:
            status = json.loads(answer.read())
        except (ValueError, RecursionError, urllib3.exceptions.HTTPError, OSError):
            status = {"message": f"HTTP {answer.status} without a Status body"}
        raise ApiError.from_status(answer.status, status if isinstance(status, dict) else {})


def _auth_settings(configuration: kubernetes.client.Configuration) -> list[dict[str, str]]:
    settings: dict[str, Any] = dict(configuration.auth_settings())
    return list(settings.values())


def _decoded(data: bytes) -> Object:
    try:
        value = _loaded(data)
    except (ValueError, RecursionError) as error:
        raise Unreachable(f"the answer is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise Unreachable(f"the answer is a JSON {type(value).__name__}, not an object")
    return value


def _loaded(data: bytes) -> Any:
    """The server takes 10,000 levels, Python's decoder a tenth: one object of a thousand must not hide the others."""
    try:
        return json.loads(data)
    except RecursionError:
        return json.loads(without_depths(data))


def without_depths(data: bytes) -> bytes:
    """JSON with null in place of every list and object that lies below MAX_DEPTH others."""
    kept, end, depth = bytearray(), 0, 0
    for token in _STRINGS_AND_BRACKETS.finditer(data):
        if token[0] in b"[{":
            depth += 1
            if depth == MAX_DEPTH + 1:
                kept += data[end : token.start()] + b"null"
        elif token[0] in b"]}":
            if depth == MAX_DEPTH + 1:
                end = token.end()
            depth -= 1
    return bytes(kept + data[end:])


def _decoded_lines(answer: urllib3.BaseHTTPResponse) -> Iterator[Object]:
    pending = bytearray()
    for chunk in _chunks(answer):
        pending += chunk
        *lines, rest = pending.split(b"\n")
        pending = bytearray(rest)
        for line in lines:
            if line.strip():
                yield _decoded(bytes(line))
    if pending.strip():
        raise Unreachable("the watch ended within an event")


def _chunks(answer: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """The body in parts as they arrive, however it is framed."""
    if answer.chunked:
        yield from answer.read_chunked()
        return
    while part := answer.read1(65536):
        yield part
