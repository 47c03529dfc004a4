"""Generated from samples/mprpc_user/fixbug.proto by tools/gen_proto.py; do not edit."""

from google.protobuf import descriptor_pool, message_factory

DESCRIPTOR = descriptor_pool.Default().AddSerializedFile(
    b"\x0a\x0cfixbug.proto\x12\x06fixbug\x22-\x0a\x0aResultCode\x12\x0f\x0a\x07errcode\x18\x01 "
    b"\x01(\x05\x12\x0e\x0a\x06errmsg\x18\x02 \x01(\x0c\x22)\x0a\x0cLoginRequest\x12\x0c\x0a\x04"
    b"name\x18\x01 \x01(\x0c\x12\x0b\x0a\x03pwd\x18\x02 \x01(\x0c\x22D\x0a\x0dLoginResponse\x12"
    b"\x22\x0a\x06result\x18\x01 \x01(\x0b2\x12.fixbug.ResultCode\x12\x0f\x0a\x07success\x18\x02"
    b" \x01(\x08\x228\x0a\x0fRegisterRequest\x12\x0a\x0a\x02id\x18\x01 \x01(\x0d\x12\x0c\x0a\x04"
    b"name\x18\x02 \x01(\x0c\x12\x0b\x0a\x03pwd\x18\x03 \x01(\x0c\x22G\x0a\x10RegisterResponse"
    b"\x12\x22\x0a\x06result\x18\x01 \x01(\x0b2\x12.fixbug.ResultCode\x12\x0f\x0a\x07success\x18"
    b"\x02 \x01(\x08\x22'\x0a\x15GetFriendsListRequest\x12\x0e\x0a\x06userid\x18\x01 \x01(\x0d"
    b"\x22\xb8\x01\x0a\x16GetFriendsListResponse\x12\x22\x0a\x06result\x18\x01 \x01(\x0b2\x12.fi"
    b"xbug.ResultCode\x12\x0f\x0a\x07friends\x18\x02 \x03(\x0c\x12:\x0a\x06online\x18\x03 \x03("
    b"\x0b2*.fixbug.GetFriendsListResponse.OnlineEntry\x1a-\x0a\x0bOnlineEntry\x12\x0b\x0a\x03ke"
    b"y\x18\x01 \x01(\x09\x12\x0d\x0a\x05value\x18\x02 \x01(\x08:\x028\x012\x85\x01\x0a\x0eUserS"
    b"erviceRpc\x124\x0a\x05Login\x12\x14.fixbug.LoginRequest\x1a\x15.fixbug.LoginResponse\x12="
    b"\x0a\x08Register\x12\x17.fixbug.RegisterRequest\x1a\x18.fixbug.RegisterResponse2c\x0a\x10F"
    b"riendServiceRpc\x12O\x0a\x0eGetFriendsList\x12\x1d.fixbug.GetFriendsListRequest\x1a\x1e.fi"
    b"xbug.GetFriendsListResponseb\x06proto3"
)

_MESSAGES = DESCRIPTOR.message_types_by_name
ResultCode = message_factory.GetMessageClass(_MESSAGES["ResultCode"])
LoginRequest = message_factory.GetMessageClass(_MESSAGES["LoginRequest"])
LoginResponse = message_factory.GetMessageClass(_MESSAGES["LoginResponse"])
RegisterRequest = message_factory.GetMessageClass(_MESSAGES["RegisterRequest"])
RegisterResponse = message_factory.GetMessageClass(_MESSAGES["RegisterResponse"])
GetFriendsListRequest = message_factory.GetMessageClass(_MESSAGES["GetFriendsListRequest"])
GetFriendsListResponse = message_factory.GetMessageClass(_MESSAGES["GetFriendsListResponse"])
