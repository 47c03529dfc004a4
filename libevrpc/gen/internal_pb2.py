"""Generated from libevrpc/proto/internal.proto by tools/gen_proto.py; do not edit."""

from google.protobuf import descriptor_pool, message_factory

DESCRIPTOR = descriptor_pool.Default().AddSerializedFile(
    b"\x0a\x17libevrpc/internal.proto\x12\x05evrpc\x22\x0d\x0a\x0bPingRequest\x22\x0e\x0a\x0cPin"
    b"gResponse\x226\x0a\x0dCancelRequest\x12%\x0a\x0ecorrelation_id\x18\x01 \x01(\x03R\x0dcorre"
    b"lationId\x22&\x0a\x0eCancelResponse\x12\x14\x0a\x05found\x18\x01 \x01(\x08R\x05found\x22+"
    b"\x0a\x0fDescribeRequest\x12\x18\x0a\x07service\x18\x01 \x01(\x09R\x07service\x22_\x0a\x10D"
    b"escribeResponse\x125\x0a\x08services\x18\x01 \x03(\x0b2\x19.evrpc.ServiceDescriptionR\x08s"
    b"ervices\x12\x14\x0a\x05files\x18\x02 \x03(\x0cR\x05files\x22r\x0a\x12ServiceDescription"
    b"\x12\x12\x0a\x04name\x18\x01 \x01(\x09R\x04name\x122\x0a\x07methods\x18\x02 \x03(\x0b2\x18"
    b".evrpc.MethodDescriptionR\x07methods\x12\x14\x0a\x05plain\x18\x03 \x01(\x08R\x05plain\x22"
    b"\x85\x01\x0a\x11MethodDescription\x12\x12\x0a\x04name\x18\x01 \x01(\x09R\x04name\x12\x1d"
    b"\x0a\x0ainput_type\x18\x02 \x01(\x09R\x09inputType\x12\x1f\x0a\x0boutput_type\x18\x03 \x01"
    b"(\x09R\x0aoutputType\x12\x1c\x0a\x09signature\x18\x04 \x01(\x09R\x09signature2\xaf\x01\x0a"
    b"\x08Internal\x12/\x0a\x04Ping\x12\x12.evrpc.PingRequest\x1a\x13.evrpc.PingResponse\x125"
    b"\x0a\x06Cancel\x12\x14.evrpc.CancelRequest\x1a\x15.evrpc.CancelResponse\x12;\x0a\x08Descri"
    b"be\x12\x16.evrpc.DescribeRequest\x1a\x17.evrpc.DescribeResponseb\x06proto3"
)

_MESSAGES = DESCRIPTOR.message_types_by_name
PingRequest = message_factory.GetMessageClass(_MESSAGES["PingRequest"])
PingResponse = message_factory.GetMessageClass(_MESSAGES["PingResponse"])
CancelRequest = message_factory.GetMessageClass(_MESSAGES["CancelRequest"])
CancelResponse = message_factory.GetMessageClass(_MESSAGES["CancelResponse"])
DescribeRequest = message_factory.GetMessageClass(_MESSAGES["DescribeRequest"])
DescribeResponse = message_factory.GetMessageClass(_MESSAGES["DescribeResponse"])
ServiceDescription = message_factory.GetMessageClass(_MESSAGES["ServiceDescription"])
MethodDescription = message_factory.GetMessageClass(_MESSAGES["MethodDescription"])
