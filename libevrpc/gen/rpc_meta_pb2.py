"""Generated from libevrpc/proto/rpc_meta.proto by tools/gen_proto.py; do not edit."""

from google.protobuf import descriptor_pool, message_factory

DESCRIPTOR = descriptor_pool.Default().AddSerializedFile(
    b"\x0a\x17libevrpc/rpc_meta.proto\x12\x0aevrpc.wire\x22\xc7\x05\x0a\x07RpcMeta\x124\x0a\x07r"
    b"equest\x18\x01 \x01(\x0b2\x1a.evrpc.wire.RpcRequestMetaR\x07request\x127\x0a\x08response"
    b"\x18\x02 \x01(\x0b2\x1b.evrpc.wire.RpcResponseMetaR\x08response\x12#\x0a\x0dcompress_type"
    b"\x18\x03 \x01(\x05R\x0ccompressType\x12%\x0a\x0ecorrelation_id\x18\x04 \x01(\x03R\x0dcorre"
    b"lationId\x12'\x0a\x0fattachment_size\x18\x05 \x01(\x05R\x0eattachmentSize\x124\x0a\x0achun"
    b"k_info\x18\x06 \x01(\x0b2\x15.evrpc.wire.ChunkInfoR\x09chunkInfo\x12/\x0a\x13authenticatio"
    b"n_data\x18\x07 \x01(\x0cR\x12authenticationData\x12C\x0a\x0fstream_settings\x18\x08 \x01("
    b"\x0b2\x1a.evrpc.wire.StreamSettingsR\x0estreamSettings\x12D\x0a\x0buser_fields\x18\x09 "
    b"\x03(\x0b2#.evrpc.wire.RpcMeta.UserFieldsEntryR\x0auserFields\x12!\x0a\x0ccontent_type\x18"
    b"\x0a \x01(\x05R\x0bcontentType\x12#\x0a\x0dchecksum_type\x18\x0b \x01(\x05R\x0cchecksumTyp"
    b"e\x12%\x0a\x0echecksum_value\x18\x0c \x01(\x0cR\x0dchecksumValue\x128\x0a\x18checksum_with"
    b"_attachment\x18\x0d \x01(\x08R\x16checksumWithAttachment\x1a=\x0a\x0fUserFieldsEntry\x12"
    b"\x10\x0a\x03key\x18\x01 \x01(\x09R\x03key\x12\x14\x0a\x05value\x18\x02 \x01(\x09R\x05value"
    b":\x028\x01\x22\xe4\x01\x0a\x0eRpcRequestMeta\x12!\x0a\x0cservice_name\x18\x01 \x02(\x09R"
    b"\x0bserviceName\x12\x1f\x0a\x0bmethod_name\x18\x02 \x02(\x09R\x0amethodName\x12\x15\x0a"
    b"\x06log_id\x18\x03 \x01(\x03R\x05logId\x12\x19\x0a\x08trace_id\x18\x04 \x01(\x03R\x07trace"
    b"Id\x12\x17\x0a\x07span_id\x18\x05 \x01(\x03R\x06spanId\x12$\x0a\x0eparent_span_id\x18\x06 "
    b"\x01(\x03R\x0cparentSpanId\x12\x1d\x0a\x0atimeout_ms\x18\x08 \x01(\x05R\x09timeoutMs\x22O"
    b"\x0a\x0fRpcResponseMeta\x12\x1d\x0a\x0aerror_code\x18\x01 \x01(\x05R\x09errorCode\x12\x1d"
    b"\x0a\x0aerror_text\x18\x02 \x01(\x09R\x09errorText\x22C\x0a\x09ChunkInfo\x12\x1b\x0a\x09st"
    b"ream_id\x18\x01 \x02(\x03R\x08streamId\x12\x19\x0a\x08chunk_id\x18\x02 \x02(\x03R\x07chunk"
    b"Id\x22\x98\x01\x0a\x0eStreamSettings\x12\x1b\x0a\x09stream_id\x18\x01 \x02(\x03R\x08stream"
    b"Id\x12#\x0a\x0dneed_feedback\x18\x02 \x01(\x08R\x0cneedFeedback\x12\x1a\x0a\x08writable"
    b"\x18\x03 \x01(\x08R\x08writable\x12(\x0a\x10extra_stream_ids\x18\x04 \x03(\x03R\x0eextraSt"
    b"reamIds"
)

_MESSAGES = DESCRIPTOR.message_types_by_name
RpcMeta = message_factory.GetMessageClass(_MESSAGES["RpcMeta"])
RpcRequestMeta = message_factory.GetMessageClass(_MESSAGES["RpcRequestMeta"])
RpcResponseMeta = message_factory.GetMessageClass(_MESSAGES["RpcResponseMeta"])
ChunkInfo = message_factory.GetMessageClass(_MESSAGES["ChunkInfo"])
StreamSettings = message_factory.GetMessageClass(_MESSAGES["StreamSettings"])
