"""Read ini files and remember where each value stands, so that an error can say so.

One line is one thing: `[section]`, `key = value`, or a comment that begins with `#` or `;`.
A value is taken to the end of its line, as it is: no quotes, no continuation, no interpolation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from libevrpc.errors import ConfigError

__all__ = ["IniFile", "IniValue", "nearest", "parse_ini", "read_ini"]


@dataclass(frozen=True, slots=True)
class IniValue:
    """The text of one value and the line (from 1) it stands on."""

    text: str
    line: int


@dataclass(frozen=True, slots=True)
class IniFile:
    """Sections, their keys, and the values; `path` is for messages."""

    path: str
    sections: dict[str, dict[str, IniValue]] = field(default_factory=dict)
    section_lines: dict[str, int] = field(default_factory=dict)

    def require_known(self, known: Mapping[str, Iterable[str]]) -> None:
        """Hold every section and key against those that are known.

        Raises:
            ConfigError: names file, line, the unknown word and the known one nearest to it.
        """
        for section, values in self.sections.items():
            if section not in known:
                hint = nearest(section, known)
                raise ConfigError(
                    f"{self.path}:{self.section_lines[section]}: unknown section [{section}]{hint}"
                )
            keys = list(known[section])
            for key, value in values.items():
                if key not in keys:
                    hint = nearest(key, keys)
                    raise ConfigError(
                        f"{self.path}:{value.line}: unknown key {key!r} in [{section}]{hint}"
                    )


def nearest(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" for the known word most like `word`, or the list of all."""
    words = sorted(known)
    spelled = {each.lower(): each for each in words}
    import difflib  # for mistakes alone

    close = difflib.get_close_matches(word.lower(), spelled, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {spelled[close[0]]!r}?"
    return f"; known: {', '.join(words)}"


def read_ini(path: str | Path) -> IniFile:
    """Read the file at `path` (UTF-8).

    Raises:
        ConfigError: it cannot be read, or a line is none of the three things.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise ConfigError(f"{path}: cannot read it: {exc.strerror or exc}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: not UTF-8 text: {exc.reason} at byte {exc.start}") from exc
    return parse_ini(text, str(path))


def parse_ini(text: str, path: str) -> IniFile:
    """Parse the text of an ini file; `path` is for messages.

    Raises:
        ConfigError: names the file and line, and what would be right.
    """
    ini = IniFile(path)
    values: dict[str, IniValue] | None = None
    for number, raw_line in enumerate(text.splitlines(), start=1):
        line = raw_line.strip()
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            values = _open_section(ini, line, number)
        elif values is None:
            raise ConfigError(f"{path}:{number}: a key before the first [section]: {line!r}")
        else:
            _add_value(ini, values, line, number)
    return ini


def _open_section(ini: IniFile, line: str, number: int) -> dict[str, IniValue]:
    name = line[1:-1].strip()
    if line[-1] != "]" or not name:
        raise ConfigError(f"{ini.path}:{number}: a section reads [name], not {line!r}")
    if name in ini.sections:
        first = ini.section_lines[name]
        raise ConfigError(f"{ini.path}:{number}: [{name}] stands on line {first} already")
    ini.section_lines[name] = number
    return ini.sections.setdefault(name, {})


def _add_value(ini: IniFile, values: dict[str, IniValue], line: str, number: int) -> None:
    key, equals, text = line.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ConfigError(f"{ini.path}:{number}: a line reads key = value, not {line!r}")
    if key in values:
        raise ConfigError(f"{ini.path}:{number}: {key!r} stands on line {values[key].line} already")
    values[key] = IniValue(text.strip(), number)
