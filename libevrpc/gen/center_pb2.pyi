from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CentersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CentersResponse(_message.Message):
    __slots__ = ("not_ready", "centers")
    NOT_READY_FIELD_NUMBER: _ClassVar[int]
    CENTERS_FIELD_NUMBER: _ClassVar[int]
    not_ready: bool
    centers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, not_ready: _Optional[bool] = ..., centers: _Optional[_Iterable[str]] = ...) -> None: ...

class PlacesRequest(_message.Message):
    __slots__ = ("address",)
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    address: str
    def __init__(self, address: _Optional[str] = ...) -> None: ...

class PlacesResponse(_message.Message):
    __slots__ = ("not_ready", "centers", "places")
    NOT_READY_FIELD_NUMBER: _ClassVar[int]
    CENTERS_FIELD_NUMBER: _ClassVar[int]
    PLACES_FIELD_NUMBER: _ClassVar[int]
    not_ready: bool
    centers: _containers.RepeatedScalarFieldContainer[str]
    places: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, not_ready: _Optional[bool] = ..., centers: _Optional[_Iterable[str]] = ..., places: _Optional[_Iterable[str]] = ...) -> None: ...

class ReportRequest(_message.Message):
    __slots__ = ("address", "services", "load", "weight", "tags", "draining", "session", "cpu", "memory_bytes", "in_flight", "qps", "connections")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    CPU_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    QPS_FIELD_NUMBER: _ClassVar[int]
    CONNECTIONS_FIELD_NUMBER: _ClassVar[int]
    address: str
    services: _containers.RepeatedScalarFieldContainer[str]
    load: float
    weight: float
    tags: _containers.RepeatedScalarFieldContainer[str]
    draining: bool
    session: str
    cpu: float
    memory_bytes: int
    in_flight: int
    qps: float
    connections: int
    def __init__(self, address: _Optional[str] = ..., services: _Optional[_Iterable[str]] = ..., load: _Optional[float] = ..., weight: _Optional[float] = ..., tags: _Optional[_Iterable[str]] = ..., draining: _Optional[bool] = ..., session: _Optional[str] = ..., cpu: _Optional[float] = ..., memory_bytes: _Optional[int] = ..., in_flight: _Optional[int] = ..., qps: _Optional[float] = ..., connections: _Optional[int] = ...) -> None: ...

class ReportResponse(_message.Message):
    __slots__ = ("not_ready", "centers", "places", "epoch", "in_map")
    NOT_READY_FIELD_NUMBER: _ClassVar[int]
    CENTERS_FIELD_NUMBER: _ClassVar[int]
    PLACES_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    IN_MAP_FIELD_NUMBER: _ClassVar[int]
    not_ready: bool
    centers: _containers.RepeatedScalarFieldContainer[str]
    places: _containers.RepeatedScalarFieldContainer[str]
    epoch: int
    in_map: bool
    def __init__(self, not_ready: _Optional[bool] = ..., centers: _Optional[_Iterable[str]] = ..., places: _Optional[_Iterable[str]] = ..., epoch: _Optional[int] = ..., in_map: _Optional[bool] = ...) -> None: ...

class GoodbyeRequest(_message.Message):
    __slots__ = ("address", "session")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    address: str
    session: str
    def __init__(self, address: _Optional[str] = ..., session: _Optional[str] = ...) -> None: ...

class GoodbyeResponse(_message.Message):
    __slots__ = ("not_ready", "centers")
    NOT_READY_FIELD_NUMBER: _ClassVar[int]
    CENTERS_FIELD_NUMBER: _ClassVar[int]
    not_ready: bool
    centers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, not_ready: _Optional[bool] = ..., centers: _Optional[_Iterable[str]] = ...) -> None: ...

class PullRequest(_message.Message):
    __slots__ = ("client_id", "service", "cluster_id", "epoch", "version", "wait_ms")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    service: str
    cluster_id: str
    epoch: int
    version: int
    wait_ms: int
    def __init__(self, client_id: _Optional[str] = ..., service: _Optional[str] = ..., cluster_id: _Optional[str] = ..., epoch: _Optional[int] = ..., version: _Optional[int] = ..., wait_ms: _Optional[int] = ...) -> None: ...

class PullResponse(_message.Message):
    __slots__ = ("not_ready", "centers", "map", "stale", "services")
    NOT_READY_FIELD_NUMBER: _ClassVar[int]
    CENTERS_FIELD_NUMBER: _ClassVar[int]
    MAP_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    not_ready: bool
    centers: _containers.RepeatedScalarFieldContainer[str]
    map: bytes
    stale: bool
    services: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, not_ready: _Optional[bool] = ..., centers: _Optional[_Iterable[str]] = ..., map: _Optional[bytes] = ..., stale: _Optional[bool] = ..., services: _Optional[_Iterable[str]] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatusResponse(_message.Message):
    __slots__ = ("id", "state", "leader", "epoch", "version", "uptime_s", "cluster_id", "centers", "servers", "leads", "map_epoch", "waiting")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UPTIME_S_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_ID_FIELD_NUMBER: _ClassVar[int]
    CENTERS_FIELD_NUMBER: _ClassVar[int]
    SERVERS_FIELD_NUMBER: _ClassVar[int]
    LEADS_FIELD_NUMBER: _ClassVar[int]
    MAP_EPOCH_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    id: int
    state: str
    leader: int
    epoch: int
    version: int
    uptime_s: float
    cluster_id: str
    centers: _containers.RepeatedCompositeFieldContainer[CenterView]
    servers: _containers.RepeatedCompositeFieldContainer[ServerView]
    leads: bool
    map_epoch: int
    waiting: str
    def __init__(self, id: _Optional[int] = ..., state: _Optional[str] = ..., leader: _Optional[int] = ..., epoch: _Optional[int] = ..., version: _Optional[int] = ..., uptime_s: _Optional[float] = ..., cluster_id: _Optional[str] = ..., centers: _Optional[_Iterable[_Union[CenterView, _Mapping]]] = ..., servers: _Optional[_Iterable[_Union[ServerView, _Mapping]]] = ..., leads: _Optional[bool] = ..., map_epoch: _Optional[int] = ..., waiting: _Optional[str] = ...) -> None: ...

class CenterView(_message.Message):
    __slots__ = ("id", "state", "address", "leader", "last_heard_s", "heard_by_leader", "trouble")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    LAST_HEARD_S_FIELD_NUMBER: _ClassVar[int]
    HEARD_BY_LEADER_FIELD_NUMBER: _ClassVar[int]
    TROUBLE_FIELD_NUMBER: _ClassVar[int]
    id: int
    state: str
    address: str
    leader: int
    last_heard_s: float
    heard_by_leader: bool
    trouble: str
    def __init__(self, id: _Optional[int] = ..., state: _Optional[str] = ..., address: _Optional[str] = ..., leader: _Optional[int] = ..., last_heard_s: _Optional[float] = ..., heard_by_leader: _Optional[bool] = ..., trouble: _Optional[str] = ...) -> None: ...

class ServerView(_message.Message):
    __slots__ = ("address", "services", "weight", "state", "age_s", "load")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    AGE_S_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    address: str
    services: _containers.RepeatedScalarFieldContainer[str]
    weight: float
    state: str
    age_s: float
    load: float
    def __init__(self, address: _Optional[str] = ..., services: _Optional[_Iterable[str]] = ..., weight: _Optional[float] = ..., state: _Optional[str] = ..., age_s: _Optional[float] = ..., load: _Optional[float] = ...) -> None: ...
