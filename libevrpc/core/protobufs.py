"""Protobuf messages from descriptors: classes, JSON and text bodies.

Only what is stable from protobuf 5.29 to 7: descriptors and `message_factory`.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from libevrpc.core.contents import ContentType
from libevrpc.core.wording import with_article
from libevrpc.errors import Errno, RpcError

__all__ = ["format_text", "message_class", "parse_text"]


def message_class(descriptor: Descriptor) -> type[Message]:
    """Return the class of a message; the very one of its generated module. Any thread."""
    return message_factory.GetMessageClass(descriptor)


def parse_text(cls: type[Message], body: bytes, content_type: int) -> Message:
    """Read a body that is JSON or protobuf text.

    Raises:
        RpcError: 1003, the body is not one, or the content type is none of ours.
    """
    from google.protobuf import json_format, text_format

    from libevrpc.core.values import check_json

    try:
        if content_type in (ContentType.JSON, ContentType.PROTO_JSON):
            check_json(body)
            return json_format.Parse(body, cls())
        if content_type == ContentType.PROTO_TEXT:
            return text_format.Parse(body, cls())
    except (json_format.ParseError, text_format.ParseError, ValueError, RecursionError) as exc:
        name = cls.DESCRIPTOR.full_name
        raise RpcError.from_errno(
            Errno.BAD_REQUEST, f"body is not {with_article(name)}: {exc}"
        ) from None
    raise _unsupported(content_type)


def format_text(message: Any, content_type: int) -> bytes:
    """Write a message as JSON or protobuf text.

    Raises:
        RpcError: 1003, the content type is none of ours; 2002, a value that JSON cannot carry:
            an instant out of range, an `Any` of an unknown type, an infinite number.
    """
    from google.protobuf import json_format, text_format

    try:
        if content_type in (ContentType.JSON, ContentType.PROTO_JSON):
            return json_format.MessageToJson(message, indent=None).encode()
        if content_type == ContentType.PROTO_TEXT:
            return text_format.MessageToString(message).encode()
    except (json_format.Error, ValueError, TypeError, RecursionError) as exc:
        name = message.DESCRIPTOR.full_name
        text = f"{name} cannot be sent as text: {exc}"
        raise RpcError.from_errno(Errno.BAD_RESPONSE, text) from None
    raise _unsupported(content_type)


def _unsupported(content_type: int) -> RpcError:
    text = (
        f"content_type {content_type} is not for protobuf services;"
        " send 0 (protobuf), 1 or 2 (JSON) or 3 (protobuf text). From Python: client.stub(...)"
    )
    return RpcError.from_errno(Errno.BAD_REQUEST, text)
