"""The calls of one connection that wait for their answer, and who answers them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from libevrpc.server.calls import ServerCall

__all__ = ["GONE", "InFlight"]

GONE: Final = object()
"""What `pop` of an `InFlight` gives for a call that somebody else answers."""


class InFlight(dict["ServerCall", None]):
    """Calls that nobody has answered yet, oldest first. Any thread; the loop enters them.

    Whoever pops a call answers it: popping is atomic.

    Attributes:
        replying: the threads that have popped a call, or are about to, and write its reply. A
            thread enters itself before it pops and leaves once the transport has the reply. For
            a call of another wire, whose reply the loop writes, it enters a mark of that call.
    """

    __slots__ = ("replying",)

    def __init__(self) -> None:
        super().__init__()
        self.replying: dict[object, None] = {}

    def owed(self) -> int:
        """Count the calls whose reply is not in the transport yet. Any thread.

        One that is being written may count twice, none is missed: a reply's thread is in
        `replying` before its call is out of here, and this looks in the other order.
        """
        return len(self) + len(self.replying)

    def take(self, wanted: Callable[[ServerCall], bool]) -> list[ServerCall]:
        """Pop all that are wanted and that nobody else answers. Any thread."""
        return [call for call in list(self) if wanted(call) and self.pop(call, GONE) is not GONE]
