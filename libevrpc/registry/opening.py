"""Which adapter serves a target. Adapters are imported when a target names them.

An adapter is a module with `resolver(target, service, settings)` and, where servers can announce
themselves there, `registrar(target, settings)`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType, ModuleType

from libevrpc.core.targets import Target
from libevrpc.errors import ConfigError
from libevrpc.registry.base import Registrar, Resolver
from libevrpc.registry.fixed import FixedResolver
from libevrpc.settings import ClientSettings, ServerSettings

__all__ = ["ANNOUNCING", "open_registrar", "open_resolver", "require_adapter"]

_PACKAGE = "libevrpc.registry."
_ADAPTERS: Mapping[str, str] = MappingProxyType(
    {
        "center": "center",
        "zk": "zookeeper",
        "etcd": "etcd",
        "http": "http",
        "dns": "dns",
        "file": "file",
    }
)
"""Scheme -> module of the package."""
_LISTS = ("direct", "list")
"""Schemes that need no registry."""
ANNOUNCING = ("center", "zk", "etcd", "http")
"""Schemes of registries that servers announce themselves at."""


def open_registrar(target: Target, settings: ServerSettings) -> Registrar:
    """Return the server's side of the registry that `target` names.

    Raises:
        ConfigError: nothing can be announced there, or a library is missing.
    """
    if target.scheme not in ANNOUNCING:
        raise ConfigError(
            f"registry = {target.text}: servers cannot be announced there; write"
            " center://host:port,host:port (or zk://, etcd://, http://)"
        )
    registrar: Registrar = _adapter(target).registrar(target, settings)
    return registrar


def open_resolver(target: Target, service: str, settings: ClientSettings) -> Resolver:
    """Return the client's side of the registry that `target` names.

    Args:
        target: where to look; direct and list targets need no registry.
        service: full name of the service looked for; a registry that holds several needs it.
        settings: pull times and state folder.

    Raises:
        ConfigError: a library is missing.
    """
    if target.scheme in _LISTS:
        return FixedResolver(target.endpoints)
    resolver: Resolver = _adapter(target).resolver(target, service, settings)
    return resolver


def require_adapter(target: Target) -> None:
    """See to it that what serves a target is installed, before anybody needs it.

    Raises:
        ConfigError: a library is missing.
    """
    if target.scheme not in _LISTS:
        _adapter(target)


def _adapter(target: Target) -> ModuleType:
    """Return the module that serves a target's scheme.

    Raises:
        ConfigError: it needs a library that is not installed; the text says how to get it.
    """
    try:
        return importlib.import_module(_PACKAGE + _ADAPTERS[target.scheme])
    except ModuleNotFoundError as exc:
        missing = (exc.name or "").partition(".")[0]
        if missing == "libevrpc":  # not the user's doing
            raise
        raise ConfigError(
            f"target {target.text}: {target.scheme}:// needs {missing}, which is not installed:"
            f" pip install 'libevrpc[{target.scheme}]'"
        ) from None
