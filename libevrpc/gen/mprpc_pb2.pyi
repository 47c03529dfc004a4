from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class MprpcHeader(_message.Message):
    __slots__ = ("service_name", "method_name", "args_size")
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    METHOD_NAME_FIELD_NUMBER: _ClassVar[int]
    ARGS_SIZE_FIELD_NUMBER: _ClassVar[int]
    service_name: bytes
    method_name: bytes
    args_size: int
    def __init__(self, service_name: _Optional[bytes] = ..., method_name: _Optional[bytes] = ..., args_size: _Optional[int] = ...) -> None: ...
