"""What the demo shows: a live table in a terminal that `rich` can paint, else plain lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

__all__ = ["PlainScreen", "Row", "Screen", "View", "open_screen"]

REFRESH_PER_S = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One process: its name, where it listens, what it is doing, and a figure."""

    name: str
    address: str
    state: str
    figure: str
    alive: bool


@dataclass(frozen=True, slots=True)
class View:
    """One moment."""

    span_s: float
    rows: Sequence[Row]
    calls: int
    calls_per_s: float
    failed: int
    slowest_ms: float


class Screen(Protocol):
    """Where the story is told. One thread."""

    def __enter__(self) -> Screen: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def say(self, text: str, style: str = "") -> None:
        """Tell one event."""


def open_screen(view: Callable[[], View], plain: bool) -> Screen:
    """Return the best screen there is."""
    if plain or not sys.stdout.isatty():
        return PlainScreen(view)
    try:
        return RichScreen(view)
    except ImportError:
        return PlainScreen(view)


class PlainScreen:
    """Lines."""

    def __init__(self, view: Callable[[], View]) -> None:
        self._view = view

    def __enter__(self) -> PlainScreen:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def say(self, text: str, style: str = "") -> None:
        """Print the event beside the client's counts."""
        view = self._view()
        counts = f"{view.calls:>7,} calls {view.failed} failed" if view.calls else ""
        print(f"{view.span_s:6.1f} s  {text:<74} {counts}".rstrip(), flush=True)


class RichScreen:
    """Events scroll by above a table that is painted anew all the time."""

    def __init__(self, view: Callable[[], View]) -> None:
        from rich.live import Live

        self._view = view
        self._live = Live(
            get_renderable=self._paint, refresh_per_second=REFRESH_PER_S, transient=False
        )

    def __enter__(self) -> RichScreen:
        self._live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def say(self, text: str, style: str = "") -> None:
        """Print the event above the table."""
        from rich.text import Text

        line = Text(f"{self._view().span_s:6.1f} s  ", style="dim")
        line.append(text, style=style or "none")
        self._live.console.print(line)

    def _paint(self) -> Any:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        view = self._view()
        colour = "bold red" if view.failed else "bold green"
        caption = Text(
            f"{view.span_s:5.1f} s   {view.calls:,} calls   {view.calls_per_s:,.0f} a second   "
            f"slowest {view.slowest_ms:.0f} ms   "
        )
        caption.append(f"{view.failed} failed", style=colour)
        table = Table(box=box.ROUNDED, caption=caption, min_width=72)
        for head in ("process", "address", "state", ""):
            table.add_column(head, justify="right" if not head else "left", min_width=10)
        for row in view.rows:
            style = "" if row.alive else "dim red"
            if row.state == "leader":
                style = "bold green"
            table.add_row(row.name, row.address, row.state, row.figure, style=style)
        return table


class Meter:
    """Turns counts that only grow into rates. One thread."""

    def __init__(self, span_s: float = 0.5) -> None:
        self._span_s = span_s
        self._then: dict[str, tuple[float, float]] = {}
        self._rates: dict[str, float] = {}

    def rate(self, name: str, count: float) -> float:
        """Return by how much `count` grows in a second."""
        now_s = time.monotonic()
        then_s, before = self._then.setdefault(name, (now_s, count))
        if now_s - then_s >= self._span_s:
            self._rates[name] = max(0.0, count - before) / (now_s - then_s)
            self._then[name] = (now_s, count)
        return self._rates.get(name, 0.0)
