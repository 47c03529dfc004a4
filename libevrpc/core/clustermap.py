"""The cluster map: what the leader publishes and every center, server and client holds.

A map travels and is stored as one msgpack array. Columns instead of rows keep it small:
1000 servers with 16384 slots fit into 64 KiB. The same map always gives the same bytes.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import msgpack

from libevrpc.core.endpoints import LIMIT_MAX, Endpoint, EndpointSet, is_usual, parse_endpoint
from libevrpc.core.slots import MEMBERS_MAX, SLOTS_MAX, SlotTable, slots_of_client
from libevrpc.errors import ConfigError, ProtocolError, UsageError

__all__ = [
    "ClusterMap",
    "ServerEntry",
    "ServerState",
    "ServiceTable",
    "tags_and_limit",
    "tags_with_limit",
]

FORMAT = 1
"""First element of an encoded map; other formats are refused by name."""
MAP_BYTES_MAX = 4 << 20
"""Largest encoded map; encoding and decoding refuse more and say so."""
SERVERS_MAX = MEMBERS_MAX
"""Most servers of one map."""
WEIGHT_MAX = 65.535
"""Largest weight; weights travel in thousandths."""
AGE_S_MAX = 6553.5
"""Largest age that is told apart; ages travel in tenths of a second, older is cut to this."""
STAMP_MAX = (1 << 63) - 1
"""Largest epoch or version."""
_NARROW_MAX = 256
_LIMIT_DIGITS = re.compile("[0-9]{1,7}")
_LIMIT_TAG = "evrpc-limit="
"""A server's limit travels as a tag: centers and clients that know no limits stay compatible."""


class ServerState(IntEnum):
    """What the leader thinks of a server."""

    UP = 0
    SUSPECT = 1
    """Silent together with many others: kept in the map, called only if nobody else is left."""
    DRAINING = 2
    """Said goodbye: finishes what it has, takes no new calls."""


_STATES = tuple(ServerState)


@dataclass(frozen=True, slots=True)
class ServerEntry:
    """One server of the map. Immutable, any thread.

    Attributes:
        address: as `parse_endpoint` reads it.
        services: full names, sorted by the publisher.
        weight: 0..WEIGHT_MAX, kept to a thousandth.
        state: see `ServerState`.
        age_s: seconds since its last report, at publication; kept to a tenth, cut at AGE_S_MAX.
        load: utilisation 0..1, kept to a thousandth.
        tags: words for filters.

    Raises:
        ValueError: a figure is out of its range, or a text contains a line break.
    """

    address: str
    services: tuple[str, ...] = ()
    weight: float = 1.0
    state: ServerState = ServerState.UP
    age_s: float = 0.0
    load: float = 0.0
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Round the figures to what travels, so that a decoded map equals the published one."""
        if not (0.0 <= self.weight <= WEIGHT_MAX and 0.0 <= self.load <= 1.0):
            raise ValueError(f"{self.address}: weight {self.weight} or load {self.load}")
        if not self.age_s >= 0.0:
            raise ValueError(f"{self.address}: age {self.age_s}")
        if "\n" in self.address or not self.address:
            raise ValueError(f"{self.address!r} is not an address")
        # What is round already stays the same object: maps of ten thousand share their figures.
        weight, load = round(self.weight * 1000) / 1000, round(self.load * 1000) / 1000
        age_s = round(min(self.age_s, AGE_S_MAX) * 10) / 10
        if weight != self.weight:
            object.__setattr__(self, "weight", weight)
        if load != self.load:
            object.__setattr__(self, "load", load)
        if age_s != self.age_s:
            object.__setattr__(self, "age_s", age_s)


@dataclass(frozen=True, slots=True)
class ServiceTable:
    """The slots of all services that one distinct set of servers offers. Immutable.

    Attributes:
        services: full names.
        members: indexes into the map's servers.
        owners: two bytes, little-endian, per slot: index into `members`.
    """

    services: tuple[str, ...]
    members: tuple[int, ...]
    owners: bytes


@dataclass(frozen=True, slots=True)
class ClusterMap:
    """One published assignment. Immutable, any thread.

    Attributes:
        cluster_id: made once, when the cluster first boots.
        epoch: number of the leadership that published it.
        version: grows by one with each publication of one epoch.
        servers: all known servers, distinct addresses.
        tables: one per distinct set of servers.
        centers: ids of the centers that the leader hears.
    """

    cluster_id: str
    epoch: int
    version: int
    servers: tuple[ServerEntry, ...] = ()
    tables: tuple[ServiceTable, ...] = ()
    centers: tuple[int, ...] = ()

    @property
    def stamp(self) -> tuple[int, int]:
        """(epoch, version): maps of one cluster are ordered by it."""
        return (self.epoch, self.version)

    def encode(self) -> bytes:
        """Return the canonical bytes.

        Raises:
            UsageError: over SERVERS_MAX servers or MAP_BYTES_MAX bytes; the text says which.
        """
        if len(self.servers) > SERVERS_MAX:
            raise UsageError(f"map of {len(self.servers)} servers, at most {SERVERS_MAX} fit")
        encoded: bytes = msgpack.packb(self._columns())
        if len(encoded) > MAP_BYTES_MAX:
            raise UsageError(f"map of {len(encoded)} bytes, at most {MAP_BYTES_MAX} are allowed")
        return encoded

    def _columns(self) -> list[Any]:
        servers = self.servers
        service_sets, service_column = _column_of([entry.services for entry in servers])
        tag_sets, tag_column = _column_of([entry.tags for entry in servers])
        return [
            FORMAT,
            self.cluster_id,
            self.epoch,
            self.version,
            "\n".join(entry.address for entry in servers),
            _u16(round(entry.weight * 1000) for entry in servers),
            bytes(entry.state for entry in servers),
            _u16(round(entry.age_s * 10) for entry in servers),
            _u16(round(entry.load * 1000) for entry in servers),
            service_sets,
            service_column,
            tag_sets,
            tag_column,
            [_pack_table(table, len(servers)) for table in self.tables],
            list(self.centers),
        ]

    @classmethod
    def decode(cls, encoded: bytes) -> ClusterMap:
        """Read what `encode` wrote.

        Raises:
            ProtocolError: the bytes are no map; never any other exception.
        """
        if len(encoded) > MAP_BYTES_MAX:
            raise ProtocolError(f"map of {len(encoded)} bytes, at most {MAP_BYTES_MAX} are allowed")
        try:
            return _map_of(msgpack.unpackb(encoded))
        except ProtocolError:
            raise
        except (ValueError, TypeError, IndexError, struct.error, ConfigError) as exc:
            raise ProtocolError(f"no cluster map: {type(exc).__name__}: {exc}") from exc

    def table_of(self, service: str) -> ServiceTable | None:
        """Return the table of `service`; None: no server offers it."""
        for table in self.tables:
            if service in table.services:
                return table
        return None

    def part(self, service: str) -> ClusterMap:
        """Return the map with only the table and the servers of `service`; same stamp."""
        table = self.table_of(service)
        if table is None:
            return replace(self, servers=(), tables=())
        return replace(
            self,
            servers=tuple(self.servers[member] for member in table.members),
            tables=(ServiceTable((service,), tuple(range(len(table.members))), table.owners),),
        )

    def endpoints_of(self, service: str, client_id: str = "", vnodes: int = 0) -> EndpointSet:
        """Return what a client of `service` balances over.

        Servers that are suspect or draining keep their place with weight 0: balancers call
        them only if nobody else is left.

        Args:
            service: full name; a service that nobody offers gives an empty set.
            client_id: whose own vnodes to name.
            vnodes: how many; they come ranked by the present load of their owners.
        """
        table = self.table_of(service)
        if table is None or not table.members:
            return EndpointSet((), None, self.stamp)
        entries = [self.servers[member] for member in table.members]
        endpoints = tuple(_endpoint_of(entry) for entry in entries)
        load_of = {entry.address: entry.load for entry in entries}
        slots = SlotTable(endpoints, table.owners)
        own = slots_of_client(client_id, vnodes, len(slots))
        ranked = sorted(own, key=lambda slot: load_of[slots.owner(slot).address])
        return EndpointSet(endpoints, slots, self.stamp, tuple(ranked))


def tags_with_limit(tags: tuple[str, ...], limit: int) -> tuple[str, ...]:
    """Return the tags that tell of a server's limit beside its own ones. Any thread."""
    return (*tags, f"{_LIMIT_TAG}{limit}") if limit else tags


def tags_and_limit(tags: tuple[str, ...]) -> tuple[tuple[str, ...], int]:
    """Take what `tags_with_limit` made apart; what is no limit is a tag. Any thread."""
    limit = 0
    plain = []
    for tag in tags:
        digits = tag.removeprefix(_LIMIT_TAG)
        if digits != tag and _LIMIT_DIGITS.fullmatch(digits):
            limit = min(int(digits), LIMIT_MAX)
        else:
            plain.append(tag)
    return tuple(plain), limit


def _endpoint_of(entry: ServerEntry) -> Endpoint:
    tags, limit = tags_and_limit(entry.tags)
    weight = entry.weight if entry.state is ServerState.UP else 0.0
    return replace(parse_endpoint(entry.address), weight=weight, tags=tags, limit=limit)


def _u16(values: Any) -> bytes:
    numbers = list(values)
    return struct.pack(f"<{len(numbers)}H", *numbers)


def _from_u16(column: bytes, count: int) -> tuple[int, ...]:
    return struct.unpack(f"<{count}H", column)


def _figures(column: tuple[int, ...], scale: int) -> Iterator[float]:
    """Return the figures of a column; equal ones are one object."""
    figure_of = {each: each / scale for each in set(column)}
    return map(figure_of.__getitem__, column)


def _pack_indexes(wide: bytes, count: int) -> bytes:
    """Drop the high bytes of 16-bit indexes where all are below `count` <= 256."""
    return wide[0::2] if count <= _NARROW_MAX else wide


def _unpack_indexes(packed: bytes, count: int) -> bytes:
    if count > _NARROW_MAX:
        return packed
    wide = bytearray(2 * len(packed))
    wide[0::2] = packed
    return bytes(wide)


def _column_of(rows: Sequence[tuple[str, ...]]) -> tuple[list[list[str]], bytes]:
    """Store equal rows once: (distinct rows in order of first use, index of each row)."""
    index_of: dict[tuple[str, ...], int] = {}
    indexes = [index_of.setdefault(row, len(index_of)) for row in rows]
    return [list(row) for row in index_of], _pack_indexes(_u16(indexes), len(index_of))


def _rows_of(distinct: Any, column: bytes, count: int) -> list[tuple[str, ...]]:
    rows = [_names(row) for row in distinct]
    return [rows[index] for index in _from_u16(_unpack_indexes(column, len(rows)), count)]


def _pack_table(table: ServiceTable, servers: int) -> list[Any]:
    everybody = table.members == tuple(range(servers))
    return [
        list(table.services),
        None if everybody else _u16(table.members),
        _pack_indexes(table.owners, len(table.members)),
    ]


def _names(value: Any) -> tuple[str, ...]:
    names = tuple(value)
    if not isinstance(value, list) or not all(isinstance(name, str) for name in names):
        raise ProtocolError("no cluster map: a list of names is something else")
    return names


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= STAMP_MAX:
        raise ProtocolError(f"no cluster map: {value!r} is not a number in 0..2**63-1")
    return value


def _table_of(packed: Any, servers: int) -> ServiceTable:
    services, members_column, owners_column = packed
    if members_column is None:
        members = tuple(range(servers))
    else:
        members = _from_u16(members_column, len(members_column) // 2)
    owners = _unpack_indexes(owners_column, len(members))
    slots = len(owners) // 2
    if len(set(members)) != len(members) or any(member >= servers for member in members):
        raise ProtocolError("no cluster map: a table names a server twice or one that is not there")
    if len(owners) % 2 or slots & (slots - 1) or slots > SLOTS_MAX or (members and not slots):
        raise ProtocolError(f"no cluster map: table of {len(owners)} bytes")
    if any(owner >= len(members) for owner in set(_from_u16(owners, slots))):
        raise ProtocolError("no cluster map: a slot's owner is not there")
    return ServiceTable(_names(services), members, owners)


def _map_of(columns: Any) -> ClusterMap:
    if not isinstance(columns, list) or not columns or columns[0] != FORMAT:
        raise ProtocolError(f"no cluster map of format {FORMAT}")
    (_, cluster_id, epoch, version, joined, weights, states, ages, loads) = columns[:9]
    (service_sets, service_column, tag_sets, tag_column, tables, centers) = columns[9:]
    if not isinstance(cluster_id, str) or not isinstance(joined, str):
        raise ProtocolError("no cluster map: a text is something else")
    addresses = joined.split("\n") if joined else []
    count = len(addresses)
    if count > SERVERS_MAX or len(set(addresses)) != count or len(states) != count:
        raise ProtocolError(f"no cluster map: {count} servers, too many or some of them twice")
    rows = zip(
        (each if is_usual(each) else parse_endpoint(each).address for each in addresses),
        _rows_of(service_sets, service_column, count),
        _figures(_from_u16(weights, count), 1000),
        map(_STATES.__getitem__, bytes(states)),
        _figures(_from_u16(ages, count), 10),
        _figures(_from_u16(loads, count), 1000),
        _rows_of(tag_sets, tag_column, count),
        strict=True,
    )
    return ClusterMap(
        cluster_id,
        _number(epoch),
        _number(version),
        tuple(ServerEntry(*row) for row in rows),
        tuple(_table_of(table, count) for table in tables),
        tuple(_number(center) for center in centers),
    )
