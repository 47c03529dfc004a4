"""Which centers to ask, and in which order: those configured, those a center named."""

from __future__ import annotations

from collections.abc import Iterable

from libevrpc.errors import ConfigError

__all__ = ["CENTERS_MAX", "CenterList"]

CENTERS_MAX = 64
"""Most centers kept; further ones that a center names are ignored."""


class CenterList:
    """Rotation over center addresses: the named ones first, then the configured ones.

    What a center names is remembered (memory and disk), so that a process whose configured
    centers are all gone still finds those that replaced them. One thread, or one lock.
    """

    __slots__ = ("_at", "_configured", "addresses", "named")

    def __init__(self, configured: Iterable[str], named: Iterable[str] = ()) -> None:
        """Start at the first address.

        Raises:
            ConfigError: there is no center at all.
        """
        self._configured = tuple(configured)
        self.named: tuple[str, ...] = ()
        self.addresses: tuple[str, ...] = ()
        self._at = 0
        self._join(tuple(named))
        if not self.addresses:
            raise ConfigError("no center is configured; write center://host:port,host:port")

    def _join(self, named: tuple[str, ...]) -> None:
        self.named = named[:CENTERS_MAX]
        self.addresses = tuple(dict.fromkeys(self.named + self._configured))[:CENTERS_MAX]

    @property
    def current(self) -> str:
        """The center to ask now."""
        return self.addresses[self._at]

    def advance(self) -> str:
        """Turn to the next center; after the last comes the first."""
        self._at = (self._at + 1) % len(self.addresses)
        return self.current

    def name(self, addresses: Iterable[str]) -> bool:
        """Put `addresses` first from now on; True if that is news. None named: no change.

        The center in use stays in use while it is still on the list.
        """
        named = tuple(dict.fromkeys(addresses))[:CENTERS_MAX]
        if not named or named == self.named:
            return False
        current = self.current
        self._join(named)
        self._at = self.addresses.index(current) if current in self.addresses else 0
        return True

    def prefer(self, address: str) -> None:
        """Turn to `address` if it is on the list."""
        if address in self.addresses:
            self._at = self.addresses.index(address)
