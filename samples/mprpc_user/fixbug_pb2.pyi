from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ResultCode(_message.Message):
    __slots__ = ("errcode", "errmsg")
    ERRCODE_FIELD_NUMBER: _ClassVar[int]
    ERRMSG_FIELD_NUMBER: _ClassVar[int]
    errcode: int
    errmsg: bytes
    def __init__(self, errcode: _Optional[int] = ..., errmsg: _Optional[bytes] = ...) -> None: ...

class LoginRequest(_message.Message):
    __slots__ = ("name", "pwd")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PWD_FIELD_NUMBER: _ClassVar[int]
    name: bytes
    pwd: bytes
    def __init__(self, name: _Optional[bytes] = ..., pwd: _Optional[bytes] = ...) -> None: ...

class LoginResponse(_message.Message):
    __slots__ = ("result", "success")
    RESULT_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    result: ResultCode
    success: bool
    def __init__(self, result: _Optional[_Union[ResultCode, _Mapping]] = ..., success: _Optional[bool] = ...) -> None: ...

class RegisterRequest(_message.Message):
    __slots__ = ("id", "name", "pwd")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PWD_FIELD_NUMBER: _ClassVar[int]
    id: int
    name: bytes
    pwd: bytes
    def __init__(self, id: _Optional[int] = ..., name: _Optional[bytes] = ..., pwd: _Optional[bytes] = ...) -> None: ...

class RegisterResponse(_message.Message):
    __slots__ = ("result", "success")
    RESULT_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    result: ResultCode
    success: bool
    def __init__(self, result: _Optional[_Union[ResultCode, _Mapping]] = ..., success: _Optional[bool] = ...) -> None: ...

class GetFriendsListRequest(_message.Message):
    __slots__ = ("userid",)
    USERID_FIELD_NUMBER: _ClassVar[int]
    userid: int
    def __init__(self, userid: _Optional[int] = ...) -> None: ...

class GetFriendsListResponse(_message.Message):
    __slots__ = ("result", "friends", "online")
    class OnlineEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bool
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bool] = ...) -> None: ...
    RESULT_FIELD_NUMBER: _ClassVar[int]
    FRIENDS_FIELD_NUMBER: _ClassVar[int]
    ONLINE_FIELD_NUMBER: _ClassVar[int]
    result: ResultCode
    friends: _containers.RepeatedScalarFieldContainer[bytes]
    online: _containers.ScalarMap[str, bool]
    def __init__(self, result: _Optional[_Union[ResultCode, _Mapping]] = ..., friends: _Optional[_Iterable[bytes]] = ..., online: _Optional[_Mapping[str, bool]] = ...) -> None: ...
