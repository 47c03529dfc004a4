"""Which adapter serves a target. Adapters are imported when a target names them."""

from __future__ import annotations

from libevrpc.core.targets import Target
from libevrpc.errors import ConfigError
from libevrpc.registry.base import Registrar, Resolver
from libevrpc.registry.fixed import FixedResolver
from libevrpc.settings import ClientSettings, ServerSettings

__all__ = ["open_registrar", "open_resolver"]


def open_registrar(target: Target, settings: ServerSettings) -> Registrar:
    """Return the server's side of the registry that `target` names.

    Raises:
        ConfigError: nothing can be announced there.
    """
    if target.scheme == "center":
        from libevrpc.registry.center import CenterRegistrar

        return CenterRegistrar(target, settings)
    raise ConfigError(
        f"registry = {target.text}: servers cannot be announced there;"
        " write center://host:port,host:port"
    )


def open_resolver(target: Target, service: str, settings: ClientSettings) -> Resolver:
    """Return the client's side of the registry that `target` names.

    Args:
        target: where to look; direct and list targets need no registry.
        service: full name of the service looked for; a registry that holds several needs it.
        settings: pull times and state folder.
    """
    if target.scheme == "center":
        from libevrpc.registry.center import CenterResolver

        return CenterResolver(target, service, settings)
    return FixedResolver(target.endpoints)
