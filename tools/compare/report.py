"""Figures as a table and as JSON."""

from __future__ import annotations

import statistics
from typing import Any

from compare.trials import ROWS, Figures

__all__ = ["figures_json", "table"]


def figures_json(figures: dict[str, Figures]) -> dict[str, Any]:
    """Return every row of every system: how many, least, median, most."""
    return {
        name: {
            "stalls": each.stalls,
            **{row: summary(values) for row, values in each.rows.items() if values},
        }
        for name, each in figures.items()
    }


def summary(values: list[float]) -> dict[str, float]:
    """Return what a cell shows."""
    return {
        "n": len(values),
        "min": round(min(values), 2),
        "median": round(statistics.median(values), 2),
        "max": round(max(values), 2),
    }


def table(figures: dict[str, Figures]) -> str:
    """Return the table, in the form that documents use."""
    lines = [
        "| min / **median** / max | " + " | ".join(figures) + " |",
        "| --- |" + " --- |" * len(figures),
    ]
    for row, title in ROWS.items():
        cells = [cell(each.rows[row]) for each in figures.values()]
        if any(cells):
            lines.append(f"| {title} | " + " | ".join(cells) + " |")
    stalls = {name: each.stalls for name, each in figures.items() if each.stalls}
    if stalls:
        told = ", ".join(f"{name} {count}" for name, count in stalls.items())
        lines.append(f"\nThrown away because the machine stood still: {told}.")
    return "\n".join(lines)


def cell(values: list[float]) -> str:
    """Return one cell: three digits, and how many figures it stands on."""
    if not values:
        return ""
    low, middle, high = (
        _short(each) for each in (min(values), statistics.median(values), max(values))
    )
    return f"{low} / **{middle}** / {high} ({len(values)})"


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
