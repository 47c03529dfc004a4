"""Generated from samples/echo/echo.proto by tools/gen_proto.py; do not edit."""

from google.protobuf import descriptor_pool, message_factory

DESCRIPTOR = descriptor_pool.Default().AddSerializedFile(
    b"\x0a\x0aecho.proto\x12\x04echo\x22\x1e\x0a\x0bEchoRequest\x12\x0f\x0a\x07request\x18\x01 "
    b"\x01(\x09\x22 \x0a\x0cEchoResponse\x12\x10\x0a\x08response\x18\x01 \x01(\x092A\x0a\x0bEcho"
    b"Service\x122\x0a\x04Echo\x12\x11.echo.EchoRequest\x1a\x12.echo.EchoResponse\x22\x03\x90"
    b"\x02\x01b\x06proto3"
)

_MESSAGES = DESCRIPTOR.message_types_by_name
EchoRequest = message_factory.GetMessageClass(_MESSAGES["EchoRequest"])
EchoResponse = message_factory.GetMessageClass(_MESSAGES["EchoResponse"])
