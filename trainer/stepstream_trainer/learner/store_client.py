"""One thread that talks to a key-value store in another process, and the threads that wait for its answers.

A call to torch's TCPStore never returns while the host of the store hangs, and nothing can end it. So nobody calls the
store: they ask the client's thread, and wait no longer than they like.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from torch.distributed import Store

PAUSE_SECONDS: Final = 0.1
"""Between two calls of `pause`, at most."""

BEAT_SECONDS: Final = 1.0
CONNECT_AGAIN_SECONDS: Final = 0.2
_CLOSING_SECONDS: Final = 1.0

_T = TypeVar("_T")


class StoreGoneError(Exception):
    """The store's host has ended or cannot be reached any more."""


class StoreSilentError(Exception):
    """The store's host does not answer."""


@dataclass(kw_only=True, slots=True, eq=False)
class _Request:
    work: Callable[[Store], Any]
    done: threading.Event = field(default_factory=threading.Event)
    result: Any = None
    failure: Exception | None = None


class StoreClient:
    """Any thread may use it."""

    def __init__(self, connect: Callable[[], Store], *, silence_seconds: float) -> None:
        """`connect` makes the connection, in the client's thread. It raises OSError in order to be called again."""
        self._connect = connect
        self._silence_seconds = silence_seconds
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._beat: Callable[[Store], None] | None = None
        self._gone = threading.Event()
        self._closed = threading.Event()
        self._failure: Exception | None = None
        self._answered_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="board", daemon=True)
        self.connected = threading.Event()

    def start(self) -> None:
        self._thread.start()

    def beat_with(self, beat: Callable[[Store], None]) -> None:
        """Call `beat` about once a second from now on, in the client's thread."""
        self._answered_at, self._beat = time.monotonic(), beat
        self._requests.put(None)

    def ask(self, work: Callable[[Store], _T], pause: Callable[[], None]) -> _T:
        """What `work` gives. Raises what `check` and `pause` raise."""
        request = _Request(work=work)
        self._requests.put(request)
        while not request.done.wait(PAUSE_SECONDS):
            self.check()
            pause()
        if request.failure is not None:
            raise request.failure
        result: _T = request.result
        return result

    def tell(self, work: Callable[[Store], object]) -> None:
        """Let `work` be done, and do not wait for it."""
        self._requests.put(_Request(work=work))

    def check(self) -> None:
        """Raises StoreGoneError, or what `connect` raised, where that is so; StoreSilentError after too long a beat."""
        if self._failure is not None:
            raise self._failure
        if self._gone.is_set():
            raise StoreGoneError
        if self._beat is not None and time.monotonic() - self._answered_at > self._silence_seconds:
            raise StoreSilentError

    def close(self) -> None:
        """What was asked before is still done, if the store answers. A thread that hangs is left behind."""
        self._closed.set()
        self._requests.put(None)
        self._thread.join(_CLOSING_SECONDS)

    def _run(self) -> None:
        try:
            store = self._connected()
            if store is not None:
                self._serve(store)
        except RuntimeError:  # torch's, whatever the reason: the store cannot be used any more
            pass
        except Exception as error:  # noqa: BLE001 - a thread ends here; whoever waits for it raises it
            self._failure = error
        finally:
            self._gone.set()
            while not self._requests.empty():
                self._give_up(self._requests.get())

    def _connected(self) -> Store | None:
        """None where the client was closed before."""
        while not self._closed.is_set():
            try:
                store = self._connect()
            except OSError:
                self._closed.wait(CONNECT_AGAIN_SECONDS)
            else:
                self.connected.set()
                return store
        return None

    def _serve(self, store: Store) -> None:
        beat_at = time.monotonic()
        while True:
            request = self._next_request(beat_at)
            if request is not None:
                self._answer(store, request)
            elif self._closed.is_set() and self._requests.empty():  # what was asked before it was closed comes first
                return
            if self._beat is not None and time.monotonic() >= beat_at:
                self._beat(store)
                self._answered_at = time.monotonic()
                beat_at = self._answered_at + BEAT_SECONDS

    def _next_request(self, beat_at: float) -> _Request | None:
        try:
            return self._requests.get(timeout=max(0.0, beat_at - time.monotonic()) if self._beat else None)
        except queue.Empty:
            return None

    def _answer(self, store: Store, request: _Request) -> None:
        try:
            request.result = request.work(store)
        except RuntimeError:
            request.failure = StoreGoneError()
            raise
        except Exception as error:
            request.failure = error
            raise
        finally:
            request.done.set()

    def _give_up(self, request: _Request | None) -> None:
        if request is not None:
            request.failure = self._failure or StoreGoneError()
            request.done.set()
