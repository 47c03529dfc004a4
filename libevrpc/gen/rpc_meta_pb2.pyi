from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RpcMeta(_message.Message):
    __slots__ = ("request", "response", "compress_type", "correlation_id", "attachment_size", "chunk_info", "authentication_data", "stream_settings", "user_fields", "content_type", "checksum_type", "checksum_value", "checksum_with_attachment")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    COMPRESS_TYPE_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENT_SIZE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_INFO_FIELD_NUMBER: _ClassVar[int]
    AUTHENTICATION_DATA_FIELD_NUMBER: _ClassVar[int]
    STREAM_SETTINGS_FIELD_NUMBER: _ClassVar[int]
    USER_FIELDS_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_TYPE_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_VALUE_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_WITH_ATTACHMENT_FIELD_NUMBER: _ClassVar[int]
    request: RpcRequestMeta
    response: RpcResponseMeta
    compress_type: int
    correlation_id: int
    attachment_size: int
    chunk_info: ChunkInfo
    authentication_data: bytes
    stream_settings: StreamSettings
    user_fields: _containers.RepeatedCompositeFieldContainer[UserField]
    content_type: int
    checksum_type: int
    checksum_value: bytes
    checksum_with_attachment: bool
    def __init__(self, request: _Optional[_Union[RpcRequestMeta, _Mapping]] = ..., response: _Optional[_Union[RpcResponseMeta, _Mapping]] = ..., compress_type: _Optional[int] = ..., correlation_id: _Optional[int] = ..., attachment_size: _Optional[int] = ..., chunk_info: _Optional[_Union[ChunkInfo, _Mapping]] = ..., authentication_data: _Optional[bytes] = ..., stream_settings: _Optional[_Union[StreamSettings, _Mapping]] = ..., user_fields: _Optional[_Iterable[_Union[UserField, _Mapping]]] = ..., content_type: _Optional[int] = ..., checksum_type: _Optional[int] = ..., checksum_value: _Optional[bytes] = ..., checksum_with_attachment: _Optional[bool] = ...) -> None: ...

class UserField(_message.Message):
    __slots__ = ("key", "value")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    value: bytes
    def __init__(self, key: _Optional[bytes] = ..., value: _Optional[bytes] = ...) -> None: ...

class RpcRequestMeta(_message.Message):
    __slots__ = ("service_name", "method_name", "log_id", "trace_id", "span_id", "parent_span_id", "timeout_ms")
    SERVICE_NAME_FIELD_NUMBER: _ClassVar[int]
    METHOD_NAME_FIELD_NUMBER: _ClassVar[int]
    LOG_ID_FIELD_NUMBER: _ClassVar[int]
    TRACE_ID_FIELD_NUMBER: _ClassVar[int]
    SPAN_ID_FIELD_NUMBER: _ClassVar[int]
    PARENT_SPAN_ID_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    service_name: bytes
    method_name: bytes
    log_id: int
    trace_id: int
    span_id: int
    parent_span_id: int
    timeout_ms: int
    def __init__(self, service_name: _Optional[bytes] = ..., method_name: _Optional[bytes] = ..., log_id: _Optional[int] = ..., trace_id: _Optional[int] = ..., span_id: _Optional[int] = ..., parent_span_id: _Optional[int] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class RpcResponseMeta(_message.Message):
    __slots__ = ("error_code", "error_text")
    ERROR_CODE_FIELD_NUMBER: _ClassVar[int]
    ERROR_TEXT_FIELD_NUMBER: _ClassVar[int]
    error_code: int
    error_text: bytes
    def __init__(self, error_code: _Optional[int] = ..., error_text: _Optional[bytes] = ...) -> None: ...

class ChunkInfo(_message.Message):
    __slots__ = ("stream_id", "chunk_id")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    CHUNK_ID_FIELD_NUMBER: _ClassVar[int]
    stream_id: int
    chunk_id: int
    def __init__(self, stream_id: _Optional[int] = ..., chunk_id: _Optional[int] = ...) -> None: ...

class StreamSettings(_message.Message):
    __slots__ = ("stream_id", "need_feedback", "writable", "extra_stream_ids")
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    NEED_FEEDBACK_FIELD_NUMBER: _ClassVar[int]
    WRITABLE_FIELD_NUMBER: _ClassVar[int]
    EXTRA_STREAM_IDS_FIELD_NUMBER: _ClassVar[int]
    stream_id: int
    need_feedback: bool
    writable: bool
    extra_stream_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, stream_id: _Optional[int] = ..., need_feedback: _Optional[bool] = ..., writable: _Optional[bool] = ..., extra_stream_ids: _Optional[_Iterable[int]] = ...) -> None: ...
