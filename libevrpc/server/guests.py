"""The wires that share a server's port with PRPC: a table of them by name."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from libevrpc.core.prpc import WireLimits
from libevrpc.core.wires import Wire
from libevrpc.errors import ConfigError
from libevrpc.inifile import nearest
from libevrpc.loop.transport import reset_at_end
from libevrpc.server.pages import Pages

if TYPE_CHECKING:
    from libevrpc.server.internal import Offer
    from libevrpc.server.methods import MethodTable
    from libevrpc.server.statistics import ServerStatistics

__all__ = ["ALL", "GUESTS", "Guest", "GuestContext", "open_wires", "prepare_listener"]

log = logging.getLogger(__name__)

ALL = "all"
"""In `wires`: every one that is installed and that nobody has to choose."""


@dataclass(frozen=True, slots=True)
class GuestContext:
    """What a wire may know of its server; the functions: any thread, and cheap.

    Attributes:
        limits: longest parts of one message; a reader keeps them.
        methods: the current table.
        offers: what is served by service name: a descriptor, or a plain object's signatures.
        statistics: the server's counters.
        stopping: True once new calls are refused.
        token_fits: whether pages may be shown to who shows this token (b"": none); calls are
            held against it by the server itself, see `GuestRequest.token`.
        wires: the wires of this server by name, this one included; complete once it serves.
        pages: what HTTP answers beside calls, and the wires that CONNECT leads to.
    """

    limits: WireLimits
    methods: Callable[[], MethodTable]
    offers: Callable[[], Mapping[str, Offer]]
    statistics: Callable[[], ServerStatistics]
    stopping: Callable[[], bool]
    token_fits: Callable[[bytes], bool]
    wires: Mapping[str, Wire]
    pages: Pages = field(default_factory=Pages)


@dataclass(frozen=True, slots=True)
class Guest:
    """One entry of the table.

    Attributes:
        make: makes the wire of one server; raises ImportError where a library is missing.
        needs: the extra of this package that brings that library; empty: none.
        chosen: it must be named in `wires`, because its bytes could be another wire's.
    """

    make: Callable[[GuestContext], Wire]
    needs: str = ""
    chosen: bool = False


def _http(context: GuestContext) -> Wire:
    from libevrpc.server.http.reader import http_wire

    return http_wire(context)


def _mprpc(context: GuestContext) -> Wire:
    from libevrpc.server.guest_mprpc import make_mprpc

    return make_mprpc("mprpc", "little", context)


def _mprpc_be(context: GuestContext) -> Wire:
    from libevrpc.server.guest_mprpc import make_mprpc

    return make_mprpc("mprpc-be", "big", context)


def _tinyrpc(context: GuestContext) -> Wire:
    from libevrpc.server.guest_tinyrpc import make_tinyrpc

    return make_tinyrpc("tinyrpc", context)


def _geerpc(context: GuestContext) -> Wire:
    from libevrpc.server.guest_tinyrpc import make_tinyrpc

    return make_tinyrpc("geerpc", context)


GUESTS: dict[str, Guest] = {
    "http": Guest(_http, needs="http"),
    "geerpc": Guest(_geerpc, chosen=True),  # before its sister, which begins alike
    "tinyrpc": Guest(_tinyrpc),
    "mprpc": Guest(_mprpc),
    "mprpc-be": Guest(_mprpc_be, chosen=True),
}
"""Every wire by name, in the order in which they are asked whose a message is."""


def open_wires(names: Iterable[str], context: GuestContext, wires: dict[str, Wire]) -> None:
    """Make the wires of one server.

    Args:
        names: the setting `wires`: names, or `ALL` beside them; none: PRPC alone.
        context: of the server.
        wires: filled with them; the same as in `context`.

    Raises:
        ConfigError: a name that is no wire's, or whose library is not installed.
    """
    wanted = list(names)
    for name in wanted:
        if name != ALL and name not in GUESTS:
            raise ConfigError(f"wires = {name}: no such wire{nearest(name, [ALL, *GUESTS])}")
    for name, guest in GUESTS.items():
        if name not in wanted and (ALL not in wanted or guest.chosen):
            continue
        try:
            wires[name] = guest.make(context)
        except ImportError as exc:
            if name in wanted:
                needed = f"pip install 'libevrpc[{guest.needs}]'"
                raise ConfigError(f"wires = {name}: {exc.name} is missing: {needed}") from exc
            log.info("wire %s is left out: %s is not installed", name, exc.name)


def prepare_listener(sock: socket.socket, wires: Mapping[str, Wire]) -> None:
    """Let connections end by a reset, until it is known that they speak no wire that needs it.

    What is accepted inherits that, so it holds from the first moment on, whatever becomes of us.
    """
    if sock.family != socket.AF_UNIX and any(wire.resets for wire in wires.values()):
        reset_at_end(sock)
