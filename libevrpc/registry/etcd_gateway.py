"""Questions to etcd over its JSON gateway, and streams from it. One thread.

The gateway (``/v3/...``, in every etcd since 3.4) takes the same requests as gRPC, so the standard
library is all that a client needs. Members are tried in turn: the one that answered last first,
then each other one once. What etcd refuses is not asked elsewhere.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import random
import socket
from collections.abc import Callable, Mapping
from typing import Any

from libevrpc.clock import monotonic_s
from libevrpc.core.endpoints import Endpoint
from libevrpc.credentials import read_secrets
from libevrpc.errors import ConfigError, ProtocolError
from libevrpc.registry.etcd_layouts import EtcdPlan
from libevrpc.registry.etcd_wire import (
    SHOWN_CHARS,
    StreamDecoder,
    WatchNews,
    cluster,
    failure_text,
    number,
    object_of,
)
from libevrpc.registry.punctual import PunctualSocket, dial_by
from libevrpc.registry.session import RegistryError

__all__ = ["EtcdGateway", "EtcdStream", "RefusedError", "credentials_of"]

CONNECT_S = 1.0
ASK_S = 4.0
"""How long all members together may take."""
ANSWER_BYTES_MAX = 64 << 20
"""Longest answer."""
RECEIVE_BYTES = 256 << 10

NOT_FOUND = 5
UNAUTHENTICATED = 16
_ELSEWHERE = (0, 1, 2, 4, 13, 14)
"""gRPC codes of a member that cannot do what another one may: none told, cancelled, unknown,
deadline exceeded, internal, unavailable."""
_STALE_TOKEN = ("invalid auth token", "revision of auth store is old")
_UNLIKE_ETCD = (BrokenPipeError, ConnectionResetError, http.client.BadStatusLine)
"""How those end a connection, or answer, who take a request over HTTP for something else."""


class RefusedError(RegistryError):
    """etcd has answered, and said no.

    Attributes:
        code: gRPC's code of the reason.
    """

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class _UnansweredError(RegistryError):
    """One member did not answer, or not so that it could be understood: another one may.

    Attributes:
        gone: its connection was closed.
    """

    def __init__(self, text: str, *, gone: bool = False) -> None:
        super().__init__(text)
        self.gone = gone


def credentials_of(plan: EtcdPlan) -> tuple[str, str] | None:
    """Return user and password out of the file that a target names; None: it names none.

    Raises:
        ConfigError: it cannot be read, is open to others, or holds something else.
    """
    if not plan.auth_file:
        return None
    user, colon, password = read_secrets(plan.auth_file, "auth_file")[0].partition(":")
    if not (user and colon and password):
        raise ConfigError(f"auth_file = {plan.auth_file}: write one line, user:password")
    return user, password


class EtcdGateway:
    """One cluster, asked by one thread.

    Args:
        plan: who its members are.
        answer_s: how long one member may take; None: as the plan says.
    """

    def __init__(self, plan: EtcdPlan, answer_s: float | None = None) -> None:
        self._plan = plan
        self._answer_s = plan.answer_s if answer_s is None else answer_s
        self._at = random.randrange(len(plan.endpoints))
        self._connection: http.client.HTTPConnection | None = None
        self._cluster = 0
        self._token = ""
        self.astray = False
        """A transaction was sent and not answered: it may be carried out yet, however much later.
        For its owner to take down."""
        self._heard: set[str] = set()  # members that are etcd's, by address
        self._interrupted = False
        self._opening: EtcdStream | None = None

    @property
    def member(self) -> Endpoint:
        """The member that is asked first."""
        return self._plan.endpoints[self._at]

    def ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Ask the cluster.

        Raises:
            RefusedError: it has answered, and said no.
            RegistryError: no member has answered; the text names each and its cause.
        """
        until_s = monotonic_s() + ASK_S
        self._interrupted = False
        causes: list[str] = []
        for _ in self._plan.endpoints:
            try:
                return self._authorised(path, body, until_s)
            except _UnansweredError as exc:
                causes.append(str(exc))
                self.move_on()
            if self._interrupted or monotonic_s() >= until_s:
                break
        raise RegistryError("; ".join(causes))

    def watch(self, prefix: str, end: str, revision: int) -> EtcdStream:
        """Open a stream of what becomes of a range of keys from `revision` on.

        Raises:
            RegistryError: no member gives one.
        """
        wanted = {
            "key": prefix,
            "range_end": end,
            "start_revision": str(revision),
            "fragment": True,
        }
        until_s = monotonic_s() + ASK_S
        self._interrupted = False
        causes: list[str] = []
        for _ in self._plan.endpoints:
            stream = self._opening = EtcdStream(self.member, self._heard_from)
            try:
                self._authorise(until_s)
                stream.open({"create_request": wanted}, self._token, self._answer_by(until_s))
            except _UnansweredError as exc:
                stream.close()
                causes.append(str(exc))
                self._token = ""  # a stream's refusal does not always say why
                self.move_on()
            except BaseException:
                stream.close()
                raise
            else:
                return stream
            finally:
                self._opening = None
            if self._interrupted or monotonic_s() >= until_s:
                break
        raise RegistryError("; ".join(causes))

    def complaint(self, exc: ProtocolError) -> RegistryError:
        """Return what to raise where the member that answered last answered nonsense."""
        return RegistryError(f"etcd {self.member}: {exc}")

    def interrupt(self) -> None:
        """End the question that waits for its answer, as one that nobody answers. Any thread."""
        self._interrupted = True
        connection, opening = self._connection, self._opening
        if connection is not None:
            _shut(connection.sock)
        if opening is not None:
            opening.interrupted = True
            _shut(opening.sock)

    def move_on(self) -> None:
        """Ask another member first from now on."""
        self.close()
        self._at = (self._at + 1) % len(self._plan.endpoints)

    def close(self) -> None:
        """Hang up. Any number of times; the next question dials anew."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # -- inside -------------------------------------------------------------------------

    def _answer_by(self, until_s: float) -> float:
        return min(until_s, monotonic_s() + self._answer_s)

    def _authorise(self, until_s: float) -> None:
        """Get a token if there is none and one is needed."""
        if self._token or not self._plan.auth_file:
            return
        try:
            found = credentials_of(self._plan)
        except ConfigError as exc:
            raise RegistryError(str(exc)) from None
        assert found is not None
        answer = self._once(
            "/v3/auth/authenticate", {"name": found[0], "password": found[1]}, until_s
        )
        token = answer.get("token")
        if not isinstance(token, str) or not token.isprintable() or not token.isascii():
            raise _UnansweredError(f"etcd {self.member}: gave no token for user {found[0]}")
        self._token = token

    def _authorised(self, path: str, body: Mapping[str, Any], until_s: float) -> dict[str, Any]:
        """Ask the member; a token that is not taken any more is replaced once."""
        self._authorise(until_s)
        try:
            return self._once(path, body, until_s)
        except RefusedError as exc:
            stale = exc.code == UNAUTHENTICATED or any(each in str(exc) for each in _STALE_TOKEN)
            if not self._token or not stale:
                raise
        self._token = ""
        self._authorise(until_s)
        return self._once(path, body, until_s)

    def _once(self, path: str, body: Mapping[str, Any], until_s: float) -> dict[str, Any]:
        """Ask the member; where a connection that was kept has gone meanwhile, on a new one."""
        by_s = self._answer_by(until_s)
        if self._connection is not None:
            try:
                return self._exchange(path, body, by_s)
            except _UnansweredError as exc:
                if self._interrupted or monotonic_s() >= by_s or not exc.gone:
                    raise
        return self._exchange(path, body, by_s)

    def _exchange(self, path: str, body: Mapping[str, Any], by_s: float) -> dict[str, Any]:
        """Send a request and read its answer; after any failure the connection is given up."""
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = self._token
        kept = sent = False
        changes = path == "/v3/kv/txn"
        try:
            connection = self._connected(by_s)
            if self._interrupted:
                raise ConnectionAbortedError(errno.ECONNABORTED, "interrupted")
            sent = changes
            connection.request("POST", path, json.dumps(body).encode("ascii"), headers)
            status, kept, data = _read_answer(connection)
            sent = False
        except TimeoutError:
            raise _UnansweredError(f"etcd {self.member}: no answer in time") from None
        except (OSError, http.client.HTTPException, ValueError) as exc:
            gone = isinstance(exc, ConnectionError)
            told = _told(exc)
            strange = isinstance(exc, _UNLIKE_ETCD) and self.member.address not in self._heard
            if strange and not self._interrupted:
                told = f"what answers there seems to be no etcd gateway ({told})"
            raise _UnansweredError(f"etcd {self.member}: {told}", gone=gone) from None
        finally:
            self.astray |= sent
            if not kept:
                self.close()
        try:
            return self._understood(status, data)
        except _UnansweredError:
            self.astray |= changes
            raise
        except ProtocolError as exc:
            self.close()
            raise _UnansweredError(f"etcd {self.member}: {exc}") from None

    def _connected(self, by_s: float) -> http.client.HTTPConnection:
        if self._connection is None:
            made = http.client.HTTPConnection(self.member.host, self.member.port)
            made.sock = dial_by(self.member, by_s, CONNECT_S)
            self._connection = made
        sock = self._connection.sock
        assert isinstance(sock, PunctualSocket)
        sock.expect_by(by_s)
        return self._connection

    def _understood(self, status: int, data: bytes) -> dict[str, Any]:
        """Return what an answer holds.

        Raises:
            RefusedError: an error of etcd's own.
            _UnansweredError: an error of this member.
            ProtocolError: it is no answer of etcd's gateway.
        """
        if status == 404 and not data.startswith(b"{"):
            raise ProtocolError(
                "has no JSON gateway at /v3: etcd 3.4 or newer is needed, with"
                " --enable-grpc-gateway and --enable-v2 as they are by default"
            )
        if status == 400 and b"HTTPS" in data:
            raise ProtocolError("wants TLS, which etcd:// does not speak")
        answer = object_of(data)
        if status == 200 and "error" not in answer:
            result = answer.get("result", answer)  # streams have one line, wrapped
            if not isinstance(result, dict):
                raise ProtocolError(f"answers result = {str(result)[:SHOWN_CHARS]!r}: no object")
            self._heard_from(self.member, cluster(result))
            return result
        text = failure_text(answer) or f"status {status}"
        inner = answer.get("error")
        code = number(answer, "code") if not isinstance(inner, dict) else 0
        if code in _ELSEWHERE or status >= 500:
            raise _UnansweredError(f"etcd {self.member}: {text}")
        if "user name is empty" in text:
            text += "; the target needs ?auth_file=/path, a file with user:password"
        raise RefusedError(f"etcd {self.member} refuses: {text}", code)

    def _heard_from(self, member: Endpoint, cluster_id: int) -> None:
        """Note which cluster a member is of.

        Raises:
            ProtocolError: of another one than the member that answered first.
        """
        if not cluster_id:
            raise ProtocolError("answers without its cluster's id; is this etcd?")
        if self._cluster not in (0, cluster_id):
            raise ProtocolError(
                f"is of cluster {cluster_id:x}, others of this target are of {self._cluster:x}"
            )
        self._cluster = cluster_id
        self._heard.add(member.address)


def _shut(sock: socket.socket | None) -> None:
    """End what another thread does with a socket, if it is there yet."""
    if sock is not None:
        with contextlib.suppress(OSError):  # it is closed already
            sock.shutdown(socket.SHUT_RDWR)


def _told(exc: Exception) -> str:
    """Say what went wrong on a connection, for a person."""
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    if isinstance(exc, http.client.IncompleteRead):
        return "the answer ends in the middle"
    return f"{type(exc).__name__}: {str(exc)[:SHOWN_CHARS]}"


def _read_answer(connection: http.client.HTTPConnection) -> tuple[int, bool, bytes]:
    """Return status, whether the connection can be used again, and body."""
    with connection.getresponse() as response:
        kept = not response.will_close
        body = bytearray()
        while part := response.read1(RECEIVE_BYTES):
            body += part
            if len(body) > ANSWER_BYTES_MAX:
                raise http.client.HTTPException(f"answers more than {ANSWER_BYTES_MAX} bytes")
        if response.length:
            raise http.client.IncompleteRead(bytes(body), response.length)
        return response.status, kept, bytes(body)


class EtcdStream:
    """A watch: what a member tells until it is closed. One thread.

    Args:
        member: who tells.
        hear: is given the member and the id of its cluster.
    """

    def __init__(self, member: Endpoint, hear: Callable[[Endpoint, int], object]) -> None:
        self.member = member
        self._hear = hear
        self.sock: socket.socket | None = None
        self.interrupted = False
        self._decoder = StreamDecoder()
        self._early: list[WatchNews] = []

    def open(self, body: Mapping[str, Any], token: str, by_s: float) -> None:
        """Ask for the watch and wait until it stands.

        Raises:
            RegistryError: it does not.
        """
        data = json.dumps(body).encode("ascii")
        lines = [
            "POST /v3/watch HTTP/1.0",  # whose answers have no chunks
            f"Host: {self.member}",
            "Content-Type: application/json",
            *([f"Authorization: {token}"] if token else []),
            f"Content-Length: {len(data)}",
            "\r\n",
        ]
        try:
            self.sock = dial_by(self.member, by_s, CONNECT_S)
            if self.interrupted:
                raise ConnectionAbortedError(errno.ECONNABORTED, "interrupted")
            self.sock.sendall("\r\n".join(lines).encode("ascii") + data)
        except TimeoutError:
            raise _UnansweredError(f"etcd {self.member}: no connection in time") from None
        except OSError as exc:
            raise _UnansweredError(f"etcd {self.member}: {_told(exc)}") from None
        while not self._early:
            left_s = by_s - monotonic_s()
            if left_s <= 0.0:
                raise _UnansweredError(f"etcd {self.member}: no watch stands in time")
            self.sock.settimeout(left_s)
            self._early = self._receive()
        if self._early[0].ended and not self._early[0].compacted:
            raise _UnansweredError(f"etcd {self.member}: no watch: {self._early[0].ended}")
        self.sock.settimeout(0.0)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        assert self.sock is not None
        return self.sock.fileno()

    @property
    def ready(self) -> bool:
        """True if there is something to take whatever the descriptor says."""
        return bool(self._early)

    def take(self) -> list[WatchNews]:
        """Return what has been told since; never waits.

        Raises:
            RegistryError: the stream has ended, or says what cannot be understood.
        """
        early, self._early = self._early, []
        return early or self._receive()

    def close(self) -> None:
        """Hang up. Any number of times."""
        if self.sock is not None:
            self.sock.close()

    def _receive(self) -> list[WatchNews]:
        assert self.sock is not None
        try:
            data = self.sock.recv(RECEIVE_BYTES)
        except (BlockingIOError, TimeoutError):
            return []
        except OSError as exc:
            raise _UnansweredError(f"etcd {self.member}: watch ends: {_told(exc)}") from None
        try:
            if not data:
                raise ProtocolError(self._decoder.ending())
            told = self._decoder.receive_data(data)
            for each in told:
                self._hear(self.member, each.cluster)
        except ProtocolError as exc:
            raise _UnansweredError(f"etcd {self.member}: {exc}") from None
        return told
