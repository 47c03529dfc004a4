"""How a body is written: what RpcMeta.content_type says. Pure."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ContentType"]


class ContentType(IntEnum):
    """RpcMeta.content_type: how a body is written."""

    PROTOBUF = 0
    JSON = 1
    PROTO_JSON = 2
    PROTO_TEXT = 3
    MSGPACK = 1001
