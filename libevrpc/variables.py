"""Environment variables that look like settings and are none: told of, never refused.

Servers, clients and centers share one environment, and a container platform writes variables of its
own into it, so an unknown name stops nobody.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping

__all__ = ["PREFIX", "warn_of_strangers"]

log = logging.getLogger(__name__)

PREFIX = "LIBEVRPC_"
"""What the names of all our variables begin with; a role and a setting follow."""
_TESTS = f"{PREFIX}TEST_"
"""So begin those that our tests read."""
TOLD_MAX = 100
"""Most variables that are told of."""
_WORD_CHARS_MAX = 64
"""So much of a name is compared with the settings."""
_LIKE = 0.6
"""How like a setting, 0..1, a name must be to be taken for it, mistyped."""
_PLATFORM = re.compile(
    r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$"
)
"""What a container platform sets beside a service that happens to be called libevrpc-server."""
_told: set[str] = set()
"""Variables that have been told of in this process."""


def warn_of_strangers(environ: Mapping[str, str], known: Mapping[str, Collection[str]]) -> None:
    """Name each variable of ours that no role has as a setting, once. Any thread.

    Args:
        environ: the environment.
        known: role -> its settings, as they are spelled in ini files.
    """
    for variable in environ:
        if not variable.upper().startswith(PREFIX) or variable.startswith(_TESTS):
            continue
        if _PLATFORM.search(variable.upper()):
            continue
        role, _, name = variable.removeprefix(PREFIX).partition("_")
        if variable == variable.upper() and name.lower() in known.get(role.lower(), ()):
            continue
        if variable not in _told and len(_told) < TOLD_MAX:
            _told.add(variable)
            text = "environment variable %.100s is no setting and does nothing%s"
            log.warning(text, variable, _meant(variable.upper().removeprefix(PREFIX), known))


def _meant(words: str, known: Mapping[str, Collection[str]]) -> str:
    """Say which variable was meant by ``PREFIX`` + `words`."""
    import difflib  # for mistakes alone

    own, _, rest = words.partition("_")
    if own.lower() not in known:
        own, rest = "", words
    likeness = {}
    for role, names in known.items():
        for name in names:
            matcher = difflib.SequenceMatcher(None, rest[:_WORD_CHARS_MAX], name.upper())
            likeness[f"{PREFIX}{role}_{name}".upper()] = matcher.ratio() + 0.2 * (
                own.lower() == role
            )
    best = max(likeness.values(), default=0.0)
    if best < _LIKE:
        return "; config/*.ini list all settings"
    return f"; did you mean {' or '.join(sorted(k for k, v in likeness.items() if v == best))}?"
