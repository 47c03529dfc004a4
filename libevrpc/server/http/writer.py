"""What becomes of a call over HTTP: its body in, its reply out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from libevrpc.core.compress import CompressType, compress, decompress
from libevrpc.core.http import HttpLimits, HttpReply, HttpRequest
from libevrpc.core.httpcall import META_PREFIX, media_type_of
from libevrpc.core.wires import Callee, GuestRequest, Out
from libevrpc.errors import Errno, RpcError
from libevrpc.server.http.site import HttpCall, HttpSite, error_reply

if TYPE_CHECKING:
    from libevrpc.core.http1 import HttpConnection

__all__ = ["HttpWriter"]


class HttpWriter:
    """Answers the calls of one connection; see `ReplyWriter`, also for the threads."""

    __slots__ = ("_connection", "_inflated_bytes_max", "_limits", "_site")

    def __init__(
        self,
        connection: HttpConnection,
        site: HttpSite,
        limits: HttpLimits,
        inflated_bytes_max: int,
    ) -> None:
        self._connection = connection
        self._site = site
        self._limits = limits
        self._inflated_bytes_max = inflated_bytes_max

    def decode(self, entry: Callee, request: GuestRequest) -> Any:
        """See `ReplyWriter.decode`."""
        call, http = _extra(request)
        if call.page is not None:
            return call.page.arguments(http), {}
        payload = decompress(call.compression, request.payload, self._inflated_bytes_max)
        return entry.decode(payload, call.content_type)

    def encode(
        self, entry: Callee, request: GuestRequest, result: Any, controller: Any
    ) -> HttpReply:
        """See `ReplyWriter.encode`.

        Raises:
            RpcError: 2002, the reply is too long, or has an attachment.
        """
        call, http = _extra(request)
        if call.page is not None:
            return call.page.reply(http, result)
        if controller is not None and controller.response_attachment:
            text = "the reply has an attachment, which only PRPC can carry"
            raise RpcError.from_errno(Errno.BAD_RESPONSE, text)
        body = entry.encode(result, call.content_type)
        headers = [("Content-Type", media_type_of(call.content_type))]
        if controller is not None:
            headers += [
                (META_PREFIX.title() + key, str(value))
                for key, value in controller.response_fields.items()
            ]
            accepted = http.head.headers.get("accept-encoding", "")
            if controller.compress_type == CompressType.GZIP and "gzip" in accepted:
                headers.append(("Content-Encoding", "gzip"))
                body = compress(CompressType.GZIP, body)
        limit = self._limits.body_bytes_max
        if len(body) > limit:
            text = f"reply of {len(body)} bytes, limit {limit}"
            raise RpcError.from_errno(Errno.BAD_RESPONSE, text)
        return HttpReply(200, body, tuple(headers))

    def reply(self, request: GuestRequest, encoded: object) -> Out:
        """See `ReplyWriter.reply`."""
        assert isinstance(encoded, HttpReply)
        data = self._connection.respond(encoded, close=self._site.stopping)
        return Out(data, self._connection.closing)

    def error(self, request: GuestRequest, error: RpcError) -> Out:
        """See `ReplyWriter.error`."""
        return self.reply(request, error_reply(error))


def _extra(request: GuestRequest) -> tuple[HttpCall, HttpRequest]:
    call, http = request.extra
    return call, http
