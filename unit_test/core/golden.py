"""Reads golden bytes of wires that have no events to state beside them."""

from __future__ import annotations

from pathlib import Path

__all__ = ["golden"]

FOLDER = Path(__file__).resolve().parent.parent / "golden"


def golden(name: str) -> bytes:
    """Return the bytes in a file below `unit_test/golden`: lines `bytes: HEX`, `#` comments."""
    data = b""
    for line in (FOLDER / name).read_text().splitlines():
        key, _, value = line.partition(": ")
        assert line.startswith("# ") or key == "bytes", f"{name}: {line}"
        if key == "bytes":
            data += bytes.fromhex(value)
    return data
