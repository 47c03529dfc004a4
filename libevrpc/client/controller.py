"""What a caller holds of one call: what to send beside the request, what came back."""

from __future__ import annotations

from collections.abc import Mapping

from libevrpc.core.prpc import Reply
from libevrpc.errors import RpcError, StatusCode

__all__ = ["ClientController"]


class ClientController:
    """Pass one as ``controller=``; for one call at a time. The caller's thread.

    Set before the call: `metadata`, `attachment`, `log_id`, `compress_type`. Read after
    it: the rest. A failed call raises all the same; the controller says what it said.
    """

    __slots__ = (
        "_error",
        "attachment",
        "compress_type",
        "latency_s",
        "log_id",
        "metadata",
        "peer",
        "response_attachment",
        "response_metadata",
        "retries",
    )

    def __init__(self) -> None:
        self.metadata: Mapping[str, str] = {}
        """String metadata to send."""
        self.attachment = b""
        """Raw bytes to send beside the request."""
        self.log_id = 0
        """A number for the server's logs."""
        self.compress_type = 0
        """How to compress the request: 0 none, 2 gzip, 3 zlib."""
        self.reset()

    def reset(self) -> None:
        """Forget the previous call's outcome. Done by every call."""
        self._error: RpcError | None = None
        self.response_metadata: Mapping[str, str] = {}
        self.response_attachment = b""
        self.peer = ""
        """Address of the server that was asked last."""
        self.retries = 0
        self.latency_s = 0.0
        """From the call's start to its end, retries included."""

    def failed(self) -> bool:
        """True if the call failed."""
        return self._error is not None

    def error_code(self) -> int:
        """Return the error's number on the wire; 0 after a success."""
        return 0 if self._error is None else self._error.errno

    def error_text(self) -> str:
        """Return the error's text; empty after a success."""
        return "" if self._error is None else self._error.text

    def code(self) -> StatusCode:
        """Return the status; OK after a success."""
        return StatusCode.OK if self._error is None else self._error.code

    # -- for the client -----------------------------------------------------------------

    def note_reply(self, reply: Reply) -> None:
        """Take what came beside the response. The client."""
        self.response_metadata = reply.user_fields or {}
        self.response_attachment = reply.attachment

    def note_error(self, error: RpcError) -> None:
        """Take the error. The client."""
        self._error = error
        self.response_metadata = error.details
