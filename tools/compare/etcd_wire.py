"""The few calls of etcd's v3 API that are measured, over gRPC.

gRPC is etcd's own protocol: many requests share one connection, and watches are streams of it.
Through the JSON gateway each request would hold a connection, and half of the processor time
would be the gateway's. The messages are declared here by name and number, so that no stubs of
another protobuf version are needed.
"""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = ["EtcdApi", "message"]

PACKAGE = "compare_etcd"
_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bytes": _FIELD.TYPE_BYTES,
    "int64": _FIELD.TYPE_INT64,
    "uint64": _FIELD.TYPE_UINT64,
    "int32": _FIELD.TYPE_INT32,
    "bool": _FIELD.TYPE_BOOL,
}
_MESSAGES = {
    "ResponseHeader": "member_id uint64 2, revision int64 3",
    "KeyValue": "key bytes 1, mod_revision int64 3, value bytes 5",
    "Event": "type int32 1, kv KeyValue 2",
    "PutRequest": "key bytes 1, value bytes 2, lease int64 3",
    "PutResponse": "header ResponseHeader 1",
    "RangeRequest": "key bytes 1, range_end bytes 2, serializable bool 7",
    "RangeResponse": "header ResponseHeader 1, kvs *KeyValue 2",
    "LeaseGrantRequest": "TTL int64 1, ID int64 2",
    "LeaseGrantResponse": "header ResponseHeader 1, ID int64 2, TTL int64 3",
    "LeaseRevokeRequest": "ID int64 1",
    "LeaseRevokeResponse": "header ResponseHeader 1",
    "LeaseKeepAliveRequest": "ID int64 1",
    "LeaseKeepAliveResponse": "header ResponseHeader 1, ID int64 2, TTL int64 3",
    "WatchCreateRequest": "key bytes 1, range_end bytes 2, start_revision int64 3",
    "WatchRequest": "create_request WatchCreateRequest 1",
    "WatchResponse": "header ResponseHeader 1, created bool 3, events *Event 11",
}
RECONNECT = [
    ("grpc.initial_reconnect_backoff_ms", 10),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 20),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
]
"""As eager as our own client in these measurements; no connection shared between channels."""


def _declare() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(
        name="compare_etcd.proto", package=PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        declared = file.message_type.add(name=name)
        for each in fields.split(", "):
            field, kind, number = each.split()
            label = _FIELD.LABEL_REPEATED if kind[0] == "*" else _FIELD.LABEL_OPTIONAL
            added = declared.field.add(name=field, number=int(number), label=label)
            if kind in _SCALARS:
                added.type = _SCALARS[kind]
            else:
                added.type = _FIELD.TYPE_MESSAGE
                added.type_name = f".{PACKAGE}.{kind.lstrip('*')}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


_POOL = _declare()


def message(name: str) -> Any:
    """Return the class of a message."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))


class EtcdApi:
    """One connection to one server. Any thread."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address, options=RECONNECT)
        self.put = self._unary("KV/Put", "Put")
        self.range = self._unary("KV/Range", "Range")
        self.lease_grant = self._unary("Lease/LeaseGrant", "LeaseGrant")
        self.lease_revoke = self._unary("Lease/LeaseRevoke", "LeaseRevoke")
        self.keep_alive = self._stream("Lease/LeaseKeepAlive", "LeaseKeepAlive")
        self.watch = self._stream("Watch/Watch", "Watch")

    def _unary(self, path: str, name: str) -> Any:
        return self._channel.unary_unary(
            f"/etcdserverpb.{path}",
            request_serializer=message(f"{name}Request").SerializeToString,
            response_deserializer=message(f"{name}Response").FromString,
        )

    def _stream(self, path: str, name: str) -> Any:
        return self._channel.stream_stream(
            f"/etcdserverpb.{path}",
            request_serializer=message(f"{name}Request").SerializeToString,
            response_deserializer=message(f"{name}Response").FromString,
        )

    def close(self) -> None:
        """End the connection and every call."""
        self._channel.close()
