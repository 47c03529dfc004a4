"""Generated from libevrpc/proto/mprpc.proto by tools/gen_proto.py; do not edit."""

from google.protobuf import descriptor_pool, message_factory

DESCRIPTOR = descriptor_pool.Default().AddSerializedFile(
    b"\x0a\x14libevrpc/mprpc.proto\x12\x05evrpc\x22K\x0a\x0bMprpcHeader\x12\x14\x0a\x0cservice_n"
    b"ame\x18\x01 \x01(\x0c\x12\x13\x0a\x0bmethod_name\x18\x02 \x01(\x0c\x12\x11\x0a\x09args_siz"
    b"e\x18\x03 \x01(\x0db\x06proto3"
)

_MESSAGES = DESCRIPTOR.message_types_by_name
MprpcHeader = message_factory.GetMessageClass(_MESSAGES["MprpcHeader"])
