"""Write config/*.ini from the settings: every key with its purpose, unit, range and default.

python tools/gen_config.py           write the files
python tools/gen_config.py --check   exit 1 where a file differs
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from libevrpc.rules import CENTER_SPAN_MAX_S, FRAME_BYTES_MAX, KIB, MIB, SPAN_MAX_S
from libevrpc.settings import KINDS, rules_of

CONFIG = Path(__file__).resolve().parent.parent / "config"
UNITS = {"_s": "seconds", "_bytes": "bytes", "_bytes_max": "bytes", "_percent": "percent"}
SPANS = {SPAN_MAX_S: "a week", CENTER_SPAN_MAX_S: "an hour"}
WIDTH = 98


def unit_of(name: str) -> str:
    """Return the unit that a setting's name ends in; "" for a count or a word."""
    return next((unit for suffix, unit in UNITS.items() if name.endswith(suffix)), "")


def size_text(size: int) -> str:
    for unit, factor in (("MiB", MIB), ("KiB", KIB)):
        if size % factor == 0:
            return f"{size // factor} {unit}"
    return str(size)


def value_text(name: str, value: object) -> str:
    """Write a value as an ini file has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and unit_of(name) == "bytes":
        return size_text(value)
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def range_text(name: str, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return ""
    if unit_of(name) == "bytes":
        top = "2 GiB - 1" if high == FRAME_BYTES_MAX else size_text(int(high))
        return f"{size_text(int(low))} .. {top}"
    top = SPANS.get(high, f"{high:.10g}")
    return f"{low:g} .. {top}"


def lines_of(section: str) -> Iterator[str]:
    """Yield the lines of one file."""
    kind = KINDS[section]
    yield f"# Every setting of a {section}, with its default. A value given as argument or as"
    yield f"# environment variable (LIBEVRPC_{section.upper()}_...) comes before this file."
    yield ""
    yield f"[{section}]"
    rules = rules_of(kind)
    for each in dataclasses.fields(kind):
        rule = rules[each.name]
        facts = [unit_of(each.name), range_text(each.name, rule.at_least, rule.at_most)]
        facts.append(" | ".join(rule.choices))
        yield ""
        yield from textwrap.wrap(rule.about, WIDTH, initial_indent="# ", subsequent_indent="# ")
        if any(facts):
            yield f"# ({', '.join(fact for fact in facts if fact)})"
        yield f"{each.name} = {value_text(each.name, each.default)}".rstrip()


def main() -> int:
    parser = argparse.ArgumentParser(description="write config/*.ini from the settings")
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 on a difference")
    check = parser.parse_args().check
    CONFIG.mkdir(exist_ok=True)
    differing = []
    for section in KINDS:
        path = CONFIG / f"{section}.ini"
        text = "\n".join(lines_of(section)) + "\n"
        if check and (not path.exists() or path.read_text() != text):
            differing.append(path.name)
        elif not check:
            path.write_text(text)
    for name in differing:
        print(f"config/{name} differs from libevrpc/settings.py: run python tools/gen_config.py")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
