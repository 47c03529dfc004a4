"""What a connection keeps for its end: hooks to run, and frames dropped since the last warning."""

from __future__ import annotations

import logging
from collections.abc import Callable

from libevrpc.server.calls import run_hook

__all__ = ["DroppedFrames", "EndHooks"]

log = logging.getLogger(__name__)

_WARN_EVERY_S = 10.0
"""A peer whose frames are dropped is named this often at most."""
_END_HOOKS_MAX = 64
"""Hooks on the end of one connection; one more is refused."""


class DroppedFrames:
    """Frames of one peer that were ignored: a peer may send any number. Loop thread."""

    __slots__ = ("_count", "_peer", "_warn_again_s")

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self._count = 0
        self._warn_again_s = 0.0

    def note(self, reason: str, now_s: float) -> None:
        """Count one, and warn of all so far, at most once in a while."""
        self._count += 1
        if now_s >= self._warn_again_s:
            self._warn_again_s = now_s + _WARN_EVERY_S
            self._tell(reason)

    def tell_rest(self) -> None:
        """Warn of those that were counted since the last warning."""
        if self._count:
            self._tell("since the last warning")

    def _tell(self, reason: str) -> None:
        count, self._count = self._count, 0
        log.warning("frames dropped peer=%s count=%d reason=%s", self._peer, count, reason)


class EndHooks:
    """What handlers want run when a connection ends."""

    __slots__ = ("_hooks",)

    def __init__(self) -> None:
        self._hooks: dict[object, Callable[[], object]] | None = {}

    def add(self, key: object, hook: Callable[[], object]) -> bool:
        """Run `hook` on the loop at the end; an equal key replaces the last one.

        Any thread. False, and no hook, when too many keys are kept or the end has come.
        """
        hooks = self._hooks
        if hooks is None or (key not in hooks and len(hooks) >= _END_HOOKS_MAX):
            return False
        hooks[key] = hook
        return self._hooks is not None or hooks.pop(key, None) is None

    def run(self) -> None:
        """The end has come. Loop thread."""
        hooks, self._hooks = self._hooks, None
        for key in list(hooks or {}):
            hook = hooks.pop(key, None) if hooks else None
            if hook is not None:  # else its own thread has just taken it back
                run_hook(hook)
