"""Why a client of a `center://` target has nobody to call, in one line."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from libevrpc.core.clustermap import ServerState
from libevrpc.core.mapcache import Failed, MapCache, NotReady
from libevrpc.errors import Errno, RpcError, StatusCode

__all__ = ["named", "trouble_of"]

_CENTERS_TOLD_MAX = 5
"""Centers whose words fit into one line."""
_SERVICES_TOLD_MAX = 20
"""So do services."""
_COMPARED_MAX = 1000
"""Services among which one is looked for that is like the wanted one."""


def trouble_of(service: str, cache: MapCache, others: tuple[str, ...]) -> RpcError | None:
    """Return what is wrong, nearest cause first; None: nothing that the centers know of.

    Any thread: what it reads is replaced, never changed.

    Args:
        service: whom the client looks for.
        cache: what it knows.
        others: services that the map has, where it lacks this one.
    """
    trouble = cache.trouble
    addresses = cache.centers.addresses
    silent = all(isinstance(trouble.get(each), Failed) for each in addresses)
    if silent or not cache.heard or all(each in trouble for each in addresses):
        return _no_center(service, cache, silent)
    found = cache.map
    table = found.table_of(service) if found is not None else None
    if found is None or table is None:
        return _not_there(service, others)
    entries = [found.servers[member] for member in table.members]
    if any(each.state is ServerState.UP for each in entries):
        return None
    states = ", ".join(f"{each.address} is {each.state.name}" for each in entries)
    return _unavailable(f"service {service} has no live server: {states or 'all have left'}")


def _no_center(service: str, cache: MapCache, silent: bool) -> RpcError:
    """Return the error of a list without any center that can tell."""
    addresses = cache.centers.addresses
    words = []
    for address in addresses[:_CENTERS_TOLD_MAX]:
        said = cache.trouble.get(address)
        text = "no answer yet" if said is None else said.text
        words.append(text if address in text else f"{address}: {text}")
    if len(addresses) > _CENTERS_TOLD_MAX:
        words.append(f"and {len(addresses) - _CENTERS_TOLD_MAX} more")
    told = "; ".join(words)
    if silent and any(isinstance(each, Failed) and each.barred for each in _said(cache)):
        text = f"no center may tell us of service {service} ({told})"
        return RpcError(StatusCode.UNAUTHENTICATED, text)
    if silent:
        text = f"no center answers for service {service} ({told})"
        return RpcError(StatusCode.UNAVAILABLE, text, errno=Errno.FAILED_SOCKET)
    return _unavailable(f"no center can tell who offers service {service} ({told})")


def _said(cache: MapCache) -> list[NotReady | Failed]:
    trouble = cache.trouble
    return [trouble[each] for each in cache.centers.addresses if each in trouble]


def _not_there(service: str, others: tuple[str, ...]) -> RpcError:
    if not others:
        return _unavailable(f"service {service} is not in the map: no server is registered")
    text = f"service {service} is not in the map; known services: {named(others, service)}"
    return RpcError(StatusCode.UNIMPLEMENTED, text, errno=Errno.NO_SERVICE)


def named(services: Collection[str], wanted: str) -> str:
    """Return services for a person: those that are like `wanted` first, no more than fit."""
    names = sorted(services)
    close = difflib.get_close_matches(wanted, names[:_COMPARED_MAX], n=3)
    told = [*close, *(each for each in names if each not in close)][:_SERVICES_TOLD_MAX]
    more = len(names) - len(told)
    return ", ".join(told) + (f" and {more} more" if more else "")


def _unavailable(text: str) -> RpcError:
    return RpcError(StatusCode.UNAVAILABLE, text)
