"""What etcd's JSON gateway says, read strictly: pure, no socket.

The gateway speaks protobuf's JSON: keys and values in base64, 64-bit numbers as strings, what is
zero left out. A stream is one JSON object a line, each `{"result": ...}` or `{"error": ...}`.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from libevrpc.errors import ProtocolError

__all__ = [
    "Change",
    "KeyValue",
    "StreamDecoder",
    "WatchNews",
    "after",
    "cluster",
    "failure_text",
    "found",
    "number",
    "object_of",
    "range_of",
    "replaced",
    "revision",
    "spelled",
]

HEAD_BYTES_MAX = 64 << 10
"""Longest head of an answer that opens a stream."""
LINE_BYTES_MAX = 16 << 20
"""Longest line of a stream. etcd cuts what it tells at about 1.5 MiB where it is asked to."""
SHOWN_CHARS = 120
"""What of a foreign answer is put into an error's text."""
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])\b")
_INT64 = range(-(1 << 63), 1 << 64)


@dataclass(frozen=True, slots=True)
class KeyValue:
    """One key.

    Attributes:
        key: its name.
        value: what it holds; empty where only names were asked for.
        lease: the lease that it ends with; 0: none.
        mod_revision: the revision of its last change.
    """

    key: bytes
    value: bytes
    lease: int
    mod_revision: int


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one key.

    Attributes:
        key: its name.
        value: what it holds now; None: it was deleted.
        revision: of the change.
    """

    key: bytes
    value: bytes | None
    revision: int


@dataclass(frozen=True, slots=True)
class WatchNews:
    """One message of a watch.

    Attributes:
        created: the watch stands.
        revision: the store's when this was said; 0 in a message that ends the watch.
        cluster: id of the cluster that says it.
        changes: in their order.
        ended: why etcd ends the watch; empty: it does not.
        compacted: the oldest revision that can still be watched from, where the one asked for
            is not kept any more; else 0.
    """

    created: bool
    revision: int
    cluster: int
    changes: tuple[Change, ...]
    ended: str
    compacted: int


def spelled(raw: bytes) -> str:
    """Spell a key or a value for the gateway."""
    return base64.b64encode(raw).decode("ascii")


def after(prefix: bytes) -> bytes:
    """Return the end of the range of all keys that begin with `prefix`, which ends below 0xff."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))


def range_of(prefix: bytes, **more: object) -> dict[str, object]:
    """Return a question for all keys that begin with `prefix`."""
    return {"key": spelled(prefix), "range_end": spelled(after(prefix)), **more}


def object_of(data: bytes) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
        ProtocolError: it is something else; the text shows its beginning.
    """
    try:
        read = json.loads(data)
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        shown = data[:SHOWN_CHARS].decode("utf-8", "backslashreplace")
        raise ProtocolError(f"answers {shown!r} where JSON of etcd's gateway should stand")
    return read


def number(answer: Mapping[str, Any], name: str) -> int:
    """Return a 64-bit number, which the gateway leaves out where it is 0.

    Raises:
        ProtocolError: it is none.
    """
    said = answer.get(name, 0)
    if isinstance(said, str) and len(said) <= 20 and said.isascii():
        try:
            said = int(said)
        except ValueError:
            said = None
    if not isinstance(said, int) or isinstance(said, bool) or said not in _INT64:
        raise ProtocolError(f"answers {name} = {str(answer.get(name))[:SHOWN_CHARS]!r}: no number")
    return said


def _part(answer: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = answer.get(name, {})
    if not isinstance(part, dict):
        raise ProtocolError(f"answers {name} = {str(part)[:SHOWN_CHARS]!r}: no object")
    return part


def _parts(answer: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    parts = answer.get(name, [])
    if not isinstance(parts, list) or not all(isinstance(each, dict) for each in parts):
        raise ProtocolError(f"answers {name} = {str(parts)[:SHOWN_CHARS]!r}: no list of objects")
    return parts


def _raw(answer: Mapping[str, Any], name: str) -> bytes:
    said = answer.get(name, "")
    try:
        return base64.b64decode(said, validate=True)
    except (binascii.Error, ValueError, TypeError):
        shown = str(said)[:SHOWN_CHARS]
        raise ProtocolError(f"answers {name} = {shown!r}: no base64") from None


def revision(answer: Mapping[str, Any]) -> int:
    """Return the store's revision, which the answer's header names.

    Raises:
        ProtocolError: it does not.
    """
    at = number(_part(answer, "header"), "revision")
    if at <= 0:
        raise ProtocolError("answers without the store's revision")
    return at


def cluster(answer: Mapping[str, Any]) -> int:
    """Return the id of the cluster that answered; 0: it did not say."""
    return number(_part(answer, "header"), "cluster_id")


def _key_value(said: Mapping[str, Any]) -> KeyValue:
    return KeyValue(
        _raw(said, "key"), _raw(said, "value"), number(said, "lease"), number(said, "mod_revision")
    )


def found(answer: Mapping[str, Any]) -> list[KeyValue]:
    """Return the keys of an answer to a range.

    Raises:
        ProtocolError: what stands there are none.
    """
    return [_key_value(each) for each in _parts(answer, "kvs")]


def replaced(answer: Mapping[str, Any]) -> list[KeyValue]:
    """Return the keys that a transaction of puts has replaced, as they were.

    Raises:
        ProtocolError: what stands there are none.
    """
    puts = [_part(each, "response_put") for each in _parts(answer, "responses")]
    return [_key_value(_part(each, "prev_kv")) for each in puts if "prev_kv" in each]


def failure_text(answer: Mapping[str, Any]) -> str:
    """Return what an error answer says; empty: nothing that a person could read."""
    inner = answer.get("error")
    for each in (answer.get("message"), inner):
        if isinstance(each, str) and each:
            return each[:SHOWN_CHARS]
    return failure_text(inner) if isinstance(inner, dict) and inner is not answer else ""


def _news(result: Mapping[str, Any]) -> WatchNews:
    changes: list[Change] = []
    for event in _parts(result, "events"):
        said = _key_value(_part(event, "kv"))
        value = None if event.get("type") == "DELETE" else said.value
        changes.append(Change(said.key, value, said.mod_revision))
    compacted = number(result, "compact_revision")
    ended = ""
    if result.get("canceled"):
        reason = result.get("cancel_reason", "")
        ended = str(reason).rpartition("desc = ")[2][:SHOWN_CHARS] or (
            f"revisions before {compacted} are compacted" if compacted else "no reason given"
        )
    return WatchNews(
        bool(result.get("created")),
        number(_part(result, "header"), "revision"),
        cluster(result),
        tuple(changes),
        ended,
        compacted,
    )


class StreamDecoder:
    """Bytes of an HTTP/1.0 answer in, messages of a watch out. One per connection.

    HTTP/1.0 because its answers have no chunks: a stream is its lines, ended by the connection.
    """

    __slots__ = ("_buffer", "_headed", "_looked", "status")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._looked = 0
        self._headed = False
        self.status = 0
        """Of the answer, once its head is there; what follows 200 are messages."""

    def receive_data(self, data: bytes) -> list[WatchNews]:
        """Take bytes, cut anywhere, and return the messages that they complete.

        Raises:
            ProtocolError: this is no stream of etcd's gateway, or etcd's error as the stream's
                last line.
        """
        self._buffer += data
        if not self._headed and not self._take_head():
            return []
        if self.status == 200:
            return [self._read(line) for line in self._lines()]
        if len(self._buffer) > HEAD_BYTES_MAX:
            raise ProtocolError(self.ending())
        return []

    def ending(self) -> str:
        """Return what the end of the connection means here."""
        if not self._headed:
            return "hangs up in the head of its answer" if self._buffer else "hangs up"
        if self.status == 200:
            return "watch ends in the middle of a message" if self._buffer else "watch ends"
        body = bytes(self._buffer)
        try:
            text = failure_text(object_of(body))
        except ProtocolError:
            text = body[:SHOWN_CHARS].decode("utf-8", "backslashreplace").strip()
        return f"refuses the watch: status {self.status} {text}"

    def _take_head(self) -> bool:
        status = _STATUS_LINE.match(self._buffer)
        if status is None and len(self._buffer) >= len(b"HTTP/1.0 200 "):
            shown = bytes(self._buffer[:SHOWN_CHARS]).decode("utf-8", "backslashreplace")
            raise ProtocolError(f"answers {shown!r}: this is no HTTP")
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or status is None:
            if len(self._buffer) > HEAD_BYTES_MAX:
                raise ProtocolError(f"answers with a head of more than {HEAD_BYTES_MAX} bytes")
            return False
        self.status = int(status[1])
        head = bytes(self._buffer[:end]).lower()
        del self._buffer[: end + 4]
        if b"\ntransfer-encoding:" in head:
            raise ProtocolError("answers HTTP/1.0 in chunks; is there a proxy in between?")
        self._headed = True
        return True

    def _lines(self) -> list[bytes]:
        end = self._buffer.rfind(b"\n", self._looked)
        if end < 0:
            self._looked = len(self._buffer)
            if self._looked > LINE_BYTES_MAX:
                raise ProtocolError(f"tells a line of more than {LINE_BYTES_MAX} bytes")
            return []
        whole = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._looked = len(self._buffer)
        return whole.split(b"\n")

    @staticmethod
    def _read(line: bytes) -> WatchNews:
        message = object_of(line)
        if "result" in message:
            return _news(_part(message, "result"))
        raise ProtocolError(f"ends the stream: {failure_text(message) or 'no reason given'}")
