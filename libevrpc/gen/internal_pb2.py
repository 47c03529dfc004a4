"""Generated from libevrpc/proto/internal.proto by tools/gen_proto.py; do not edit."""

from google.protobuf import descriptor_pool, message_factory

DESCRIPTOR = descriptor_pool.Default().AddSerializedFile(
    b"\x0a\x17libevrpc/internal.proto\x12\x05evrpc\x22\x0d\x0a\x0bPingRequest\x22\x0e\x0a\x0cPin"
    b"gResponse\x22'\x0a\x0dCancelRequest\x12\x16\x0a\x0ecorrelation_id\x18\x01 \x01(\x03\x22"
    b"\x1f\x0a\x0eCancelResponse\x12\x0d\x0a\x05found\x18\x01 \x01(\x08\x22\x22\x0a\x0fDescribeR"
    b"equest\x12\x0f\x0a\x07service\x18\x01 \x01(\x09\x22N\x0a\x10DescribeResponse\x12+\x0a\x08s"
    b"ervices\x18\x01 \x03(\x0b2\x19.evrpc.ServiceDescription\x12\x0d\x0a\x05files\x18\x02 \x03("
    b"\x0c\x22\x5c\x0a\x12ServiceDescription\x12\x0c\x0a\x04name\x18\x01 \x01(\x09\x12)\x0a\x07m"
    b"ethods\x18\x02 \x03(\x0b2\x18.evrpc.MethodDescription\x12\x0d\x0a\x05plain\x18\x03 \x01("
    b"\x08\x22]\x0a\x11MethodDescription\x12\x0c\x0a\x04name\x18\x01 \x01(\x09\x12\x12\x0a\x0ain"
    b"put_type\x18\x02 \x01(\x09\x12\x13\x0a\x0boutput_type\x18\x03 \x01(\x09\x12\x11\x0a\x09sig"
    b"nature\x18\x04 \x01(\x092\xaf\x01\x0a\x08Internal\x12/\x0a\x04Ping\x12\x12.evrpc.PingReque"
    b"st\x1a\x13.evrpc.PingResponse\x125\x0a\x06Cancel\x12\x14.evrpc.CancelRequest\x1a\x15.evrpc"
    b".CancelResponse\x12;\x0a\x08Describe\x12\x16.evrpc.DescribeRequest\x1a\x17.evrpc.DescribeR"
    b"esponseb\x06proto3"
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
