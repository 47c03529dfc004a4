"""Ini files: what stands where, and what is said about what is wrong."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libevrpc.errors import ConfigError
from libevrpc.inifile import IniValue, nearest, parse_ini, read_ini


def test_values_know_their_lines() -> None:
    ini = parse_ini("# a comment\n\n[server]\nthreads = 4\n; another\nlisten=a:1, b:2 # c\n", "x")
    assert ini.sections == {
        "server": {"threads": IniValue("4", 4), "listen": IniValue("a:1, b:2 # c", 6)}
    }


def test_a_value_may_be_empty_and_hold_equals_signs() -> None:
    values = parse_ini("[s]\na =\nb = x=y\n", "x").sections["s"]
    assert (values["a"].text, values["b"].text) == ("", "x=y")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("threads = 1\n", "f.ini:1: a key before the first [section]: 'threads = 1'"),
        ("\n[server\n", "f.ini:2: a section reads [name], not '[server'"),
        ("[]\n", "f.ini:1: a section reads [name], not '[]'"),
        ("[a]\n[b]\n[a]\n", "f.ini:3: [a] stands on line 1 already"),
        ("[a]\nthreads\n", "f.ini:2: a line reads key = value, not 'threads'"),
        ("[a]\n= 1\n", "f.ini:2: a line reads key = value, not '= 1'"),
        ("[a]\nx = 1\nx = 2\n", "f.ini:3: 'x' stands on line 2 already"),
    ],
)
def test_a_wrong_line_is_named(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_ini(text, "f.ini")
    assert str(caught.value) == complaint


def test_an_unknown_section_names_the_nearest() -> None:
    ini = parse_ini("\n[sever]\n", "f.ini")
    with pytest.raises(ConfigError, match=r"f.ini:2: unknown section \[sever\]; did you mean 's"):
        ini.require_known({"server": ["threads"], "client": []})


def test_an_unknown_key_names_the_nearest() -> None:
    ini = parse_ini("[server]\n\nthreds = 2\n", "f.ini")
    with pytest.raises(ConfigError) as caught:
        ini.require_known({"server": ["listen", "threads"]})
    assert str(caught.value) == "f.ini:3: unknown key 'threds' in [server]; did you mean 'threads'?"


def test_known_words_pass() -> None:
    parse_ini("[server]\nthreads = 2\n", "f.ini").require_known({"server": ["threads"]})


def test_where_nothing_is_near_all_are_named() -> None:
    assert nearest("zzz", ["threads", "listen"]) == "; known: listen, threads"


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "f.ini"
    path.write_bytes(b"\xef\xbb\xbf[a]\r\nb = c\r\n")
    assert read_ini(path).sections == {"a": {"b": IniValue("c", 2)}}


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none.ini: cannot read it: No such file or directory"):
        read_ini(tmp_path / "none.ini")


def test_a_file_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "f.ini"
    path.write_bytes(b"[a]\n\xff")
    with pytest.raises(ConfigError, match="f.ini: not UTF-8 text: invalid start byte at byte 4"):
        read_ini(path)


@given(st.text())
def test_any_text_is_sections_or_a_config_error(text: str) -> None:
    with suppress(ConfigError):
        assert parse_ini(text, "f.ini").path == "f.ini"
