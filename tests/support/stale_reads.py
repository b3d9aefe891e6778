"""Reads as an API server answers them whose cache lags some seconds behind, from the real one's own history."""

from __future__ import annotations

import http.client
import json
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from urllib.parse import urlencode

SAMPLE_SECONDS = 0.1


class StaleReads:
    """Lists are asked for at the exact resource version of `lag_seconds` ago; watch events are held back as long."""

    def __init__(self, connect: Callable[[], http.client.HTTPSConnection], lag_seconds: float) -> None:
        self._connect, self._lag_seconds = connect, lag_seconds
        self._versions: deque[tuple[float, str]] = deque()
        self._ended = threading.Event()
        self._sample(connection := connect())
        self._thread = threading.Thread(target=self._run, args=(connection,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def rewritten(self, path: str, query: dict[str, str]) -> str:
        """The same read as of then; the read of one object becomes a list of its collection."""
        if "continue" in query or path.endswith("/log"):
            return f"{path}?{urlencode(query)}"
        query = query | {"resourceVersion": self._version(), "resourceVersionMatch": "Exact"}
        name = single_name(path)
        if name is not None:
            path, query = path.rsplit("/", 1)[0], query | {"fieldSelector": f"metadata.name={name}"}
        return f"{path}?{urlencode(query)}"

    def narrowed(self, path: str, code: int, body: bytes) -> tuple[int, bytes]:
        """The answer to the read that was asked for, from the answer to the rewritten one."""
        if single_name(path) is None or code != 200:
            return code, body
        listed = json.loads(body)
        if not listed["items"]:
            missing = {"kind": "Status", "status": "Failure", "reason": "NotFound", "message": "not found", "code": 404}
            return 404, json.dumps(missing).encode()
        kind = {"apiVersion": listed["apiVersion"], "kind": listed["kind"].removesuffix("List")}
        return 200, json.dumps(kind | listed["items"][0]).encode()

    def delayed(self, response: http.client.HTTPResponse) -> Generator[bytes, None, None]:
        """Each line of a watch that long after it came. Closes `response` at its end."""
        held: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

        def receive() -> None:
            try:
                for line in lines_of(response):
                    held.put((time.monotonic() + self._lag_seconds, line))
            except (OSError, ValueError, AttributeError, http.client.HTTPException):
                # The connection was closed by the other side of the proxy, in the middle of a read.
                return
            finally:
                held.put((0.0, b""))

        threading.Thread(target=receive, daemon=True).start()
        while (item := held.get())[1]:
            self._ended.wait(max(0.0, item[0] - time.monotonic()))
            yield item[1]

    def _version(self) -> str:
        wanted = time.monotonic() - self._lag_seconds
        while len(self._versions) > 1 and self._versions[1][0] <= wanted:
            self._versions.popleft()
        return self._versions[0][1]

    def _run(self, connection: http.client.HTTPSConnection) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            try:
                self._sample(connection)
            except (http.client.HTTPException, OSError):
                connection.close()
                connection = self._connect()
        connection.close()

    def _sample(self, connection: http.client.HTTPSConnection) -> None:
        now = time.monotonic()
        connection.request("GET", "/api/v1/namespaces?limit=1")
        version = json.loads(connection.getresponse().read())["metadata"]["resourceVersion"]
        self._versions.append((now, version))


def lines_of(response: http.client.HTTPResponse) -> Generator[bytes, None, None]:
    """The lines of an answer as they come; closes it at the end."""
    with response:
        yield from iter(response.readline, b"")


def single_name(path: str) -> str | None:
    """The object's name where a path reads one object of a namespace, not a collection."""
    parts = path.strip("/").split("/")
    below = parts[parts.index("namespaces") + 2 :] if "namespaces" in parts else []
    return below[1] if len(below) == 2 else None
