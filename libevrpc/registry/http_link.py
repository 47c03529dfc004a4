"""Questions to one HTTP registry: a connection for each, and one deadline for all of it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping

from libevrpc.clock import monotonic_s
from libevrpc.core.endpoints import Endpoint
from libevrpc.core.http import HttpAnswer, HttpLimits
from libevrpc.core.http1 import HttpAnswerReader
from libevrpc.core.oneline import one_line
from libevrpc.errors import ProtocolError
from libevrpc.registry.punctual import dial_by
from libevrpc.registry.session import RegistryError

__all__ = ["ASK_S", "HttpLink"]

ASK_S = 2.0
"""How long one question may take."""
LIMITS = HttpLimits(head_bytes_max=4 << 20, body_bytes_max=64 << 20)
"""A list of ten thousand servers fits into a header."""
RECEIVE_BYTES = 256 << 10
_TEXT_CHARS = 200


class HttpLink:
    """One registry of a target. One thread, but for `interrupt`.

    Attributes:
        address: its own.
    """

    def __init__(self, endpoint: Endpoint, path: str, headers: Mapping[str, str]) -> None:
        """Ask at `endpoint` for `path`, with `headers` in every question."""
        self.address = endpoint.address
        self._endpoint = endpoint
        self._path = path
        host = "localhost" if endpoint.path else endpoint.address
        self._headers = {"Host": host, "User-Agent": "libevrpc", **headers}
        self._sock: socket.socket | None = None
        self._interrupted = False
        self.unanswered = False
        """The last question may have been heard all the same: it was sent, and has no answer."""

    def ask(
        self,
        method: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        timeout_s: float = ASK_S,
        interruptible: bool = False,
    ) -> HttpAnswer:
        """Ask once; an `interrupt` since `heed` ends it, if it is interruptible.

        Raises:
            RegistryError: it cannot be reached, does not answer in time, or answers something
                else than HTTP; or it was interrupted.
        """
        by_s = monotonic_s() + timeout_s
        self.unanswered = False
        try:
            # that cannot be interrupted, so it takes no longer where the answer may
            with dial_by(self._endpoint, by_s, ASK_S) as sock:
                self._sock = sock
                if interruptible and self._interrupted:
                    raise self._error("interrupted")
                self.unanswered = True
                sock.sendall(self._request(method, headers, body))
                reader = HttpAnswerReader(method, LIMITS)
                answer = None
                while answer is None:
                    sock.expect_by(by_s)
                    answer = reader.receive(sock.recv(RECEIVE_BYTES))
                self.unanswered = False
                return answer
        except TimeoutError:
            raise self._error(f"no answer within {timeout_s:g} s") from None
        except OSError as exc:
            raise self._error(exc.strerror or str(exc)) from None
        except ProtocolError as exc:
            raise self._error(str(exc)) from None
        finally:
            self._sock = None

    def done(self, answer: HttpAnswer) -> HttpAnswer:
        """Return an answer that says that it was done.

        Raises:
            RegistryError: it says something else.
        """
        if 200 <= answer.status < 300:
            return answer
        text = one_line(answer.body[:_TEXT_CHARS].decode(errors="replace").strip())
        raise self._error(f"it answers {answer.status} {text}".rstrip())

    def heed(self) -> None:
        """Forget earlier interrupts."""
        self._interrupted = False

    def interrupt(self) -> None:
        """End the question that waits for its answer, the next one if none does. Any thread."""
        self._interrupted = True
        sock = self._sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _request(self, method: str, headers: Mapping[str, str], body: bytes) -> bytes:
        lines = [f"{method} {self._path} HTTP/1.1"]
        said = {**self._headers, **headers, "Content-Length": str(len(body))}
        said["Connection"] = "close"
        lines += [f"{name}: {value}" for name, value in said.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body

    def _error(self, text: str) -> RegistryError:
        return RegistryError(text if self.address in text else f"{self.address}: {text}")
