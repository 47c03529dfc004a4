"""The pages that every server has: is it well, and what does it serve."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from libevrpc.core.http import HttpReply, HttpRequest

if TYPE_CHECKING:
    from libevrpc.server.guests import GuestContext
    from libevrpc.server.internal import Offer
    from libevrpc.server.pages import Page

__all__ = ["health_page", "services_page"]


def health_page(stopping: Callable[[], bool]) -> Page:
    """Make the page that probes look at: 200 while new calls are taken, else 503."""

    def health(request: HttpRequest) -> HttpReply:
        return HttpReply.text(503, "stopping") if stopping() else HttpReply.text(200, "ok")

    return health


def services_page(context: GuestContext) -> Page:
    """Make the page of services, their methods and how often each was called."""

    def services(request: HttpRequest) -> HttpReply:
        offers = context.offers()
        counts = context.statistics()
        lines = [
            f"{len(offers)} services, {counts.calls} calls, {counts.in_flight} in flight,"
            f" {counts.connections} connections",
        ]
        for name in sorted(offers):
            rows = _rows(context, name, offers[name])
            width = max(len(signature) for signature, _ in rows)
            lines += ["", name]
            lines += [f"  {signature:<{width}}  {calls}" for signature, calls in rows]
        return HttpReply.text(200, "\n".join([*lines, ""]))

    return services


def _rows(context: GuestContext, service: str, offer: Offer) -> list[tuple[str, int]]:
    """Return signature and calls of each method of a service."""
    methods = context.methods()
    rows = []
    for method, signature in _signatures(offer):
        entry = methods.get(service, method)
        rows.append((f"{method}{signature}", 0 if entry is None else entry.calls))
    return rows


def _signatures(offer: Offer) -> list[tuple[str, str]]:
    if isinstance(offer, tuple):
        return list(offer[1].items())
    return [
        (each.name, f"({each.input_type.full_name}) -> {each.output_type.full_name}")
        for each in offer.methods
    ]
