"""The centers list: what is read, and what is said about what is wrong."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from center import centers_list
from center.centers_list import (
    CENTERS_MAX,
    CenterLine,
    default_path,
    parse_centers_list,
    read_centers_list,
)
from libevrpc.errors import ConfigError

EXAMPLE = Path(__file__).resolve().parents[2] / "centers_list.example"
THREE = "2 b 8898 8899\n# all\n1 a 8898 8899   # the first\n\n3 [2001:DB8::1] 8898 8899\n"


def complaint_about(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_centers_list(text, "list")
    return str(caught.value)


def test_lines_are_read_in_the_order_of_ids() -> None:
    three = parse_centers_list(THREE, "list")
    assert three.centers == (
        CenterLine(1, "a", 8898, 8899, 3),
        CenterLine(2, "b", 8898, 8899, 1),
        CenterLine(3, "2001:db8::1", 8898, 8899, 5),
    )
    assert three.centers[2].peer_address == "[2001:db8::1]:8898"
    assert three.centers[0].client_address == "a:8899"
    assert three.quorum == 2


def test_digest_knows_centers_and_the_generation_alone() -> None:
    first = parse_centers_list(THREE, "list")
    same = parse_centers_list("3 [2001:db8:0::1] 8898 8899\n1 A 8898 8899\n2 b 8898 8899", "other")
    other = parse_centers_list(THREE.replace("1 a 8898", "1 a 8897"), "list")
    assert first.digest() == same.digest() != other.digest()
    assert len(first.digest()) == 32
    assert first.digest(1) == first.digest() != first.digest(2) == same.digest(2)
    assert first.digest(2) != first.digest(3)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "list: no center in it; a line reads: id host peer_port client_port [public_key]"),
        (
            "# none\n",
            "list: no center in it; a line reads: id host peer_port client_port [public_key]",
        ),
        (
            "\n1 a 8898",
            "list:2: 3 words in '1 a 8898'; a line reads:"
            " id host peer_port client_port [public_key]",
        ),
        ("one a 1 2", "list:1: id 'one': must be a number from 1 to 65535"),
        ("-1 a 1 2", "list:1: id '-1': must be a number from 1 to 65535"),
        ("0 a 1 2", "list:1: id '0': must be a number from 1 to 65535"),
        ("65536 a 1 2", "list:1: id '65536': must be a number from 1 to 65535"),
        ("1 a 0 2", "list:1: peer port '0': must be a number from 1 to 65535"),
        ("1 a 1 65536", "list:1: client port '65536': must be a number from 1 to 65535"),
        ("1 a 7 7", "list:1: peer port and client port are both 7; they must differ"),
        ("1 a 1 2\n1 b 1 2", "list:2: id 1 stands on line 1 already"),
        ("1 a 1 2\n2 A 3 1", "list:2: a:1 stands on line 1 already"),
        ("1 [::1] 1 2\n2 [0::1] 2 3", "list:2: [::1]:2 stands on line 1 already"),
        ("1 ::1 1 2", "list:1: host '::1': an IPv6 address stands in brackets: [::1]"),
        ("1 [1.2.3.4] 1 2", "list:1: host '[1.2.3.4]': brackets are for IPv6: write 1.2.3.4"),
        (
            "1 0.0.0.0 1 2",
            "list:1: host '0.0.0.0': the others dial it; name an address they can reach",
        ),
        (
            "1 [a] 1 2",
            "list:1: host '[a]': must be a host name, an IPv4 address or an [IPv6 address]",
        ),
        (
            "1 a:8898 1 2",
            "list:1: host 'a:8898': must be a host name, an IPv4 address or an [IPv6 address]",
        ),
        *(
            (
                f"1 a 1 2\n2 {host} 1 2",
                f"list:2: host '{host}': must be a host name, an IPv4 address or an [IPv6 address]",
            )
            for host in (
                "a..b",
                f"{'h' * 64}.example",
                ".a",
                "a-.b",
                f"{'h.' * 127}h",
                "1.2.3",
                "1.2.3.256",
            )
        ),
    ],
)
def test_a_wrong_list_names_line_and_remedy(text: str, complaint: str) -> None:
    assert complaint_about(text) == complaint


def test_too_many_centers_are_refused() -> None:
    text = "".join(f"{number} host{number} 1 2\n" for number in range(1, CENTERS_MAX + 2))
    assert complaint_about(text) == "list: 16 centers, at most 15 may be listed"


def test_the_one_local_line_gives_the_id() -> None:
    assert parse_centers_list(THREE, "list").local_id(lambda host: host == "b") == 2


def test_without_one_local_line_an_id_must_be_given() -> None:
    three = parse_centers_list(THREE, "list")
    with pytest.raises(ConfigError, match="list: no line has an address of this machine; .*--id"):
        three.local_id(lambda _: False)
    with pytest.raises(ConfigError, match="list: ids 1, 2, 3 all have an address .*--id"):
        three.local_id(lambda _: True)


def test_an_id_that_is_not_listed_is_refused() -> None:
    three = parse_centers_list(THREE, "list")
    assert three.center(3).host == "2001:db8::1"
    with pytest.raises(ConfigError, match="list: no line with id 9; it has 1, 2, 3"):
        three.center(9)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (THREE, []),
        ("1 127.0.0.1 1 2", []),
        ("1 a 1 2\n2 b 1 2", ["of two centers both are needed"]),
        ("1 a 1 2\n2 b 1 2\n3 c 1 2\n4 d 1 2", ["4 centers bear the loss of 1, as 3 would"]),
        ("1 a 1 2\n2 127.0.0.1 1 2\n3 b 1 2", ["list:2: 127.0.0.1 cannot be reached"]),
        ("1 a 1 2\n2 localhost 1 2\n3 b 1 2", ["list:2: localhost cannot be reached"]),
    ],
)
def test_what_will_surprise_is_said(text: str, words: list[str]) -> None:
    warnings = list(parse_centers_list(text, "list").warnings())
    assert len(warnings) == len(words)
    assert all(word in warning for word, warning in zip(words, warnings, strict=True))


def test_the_example_is_three_centers_without_a_warning() -> None:
    example = read_centers_list(EXAMPLE)
    assert [(each.peer_port, each.client_port) for each in example.centers] == [(8898, 8899)] * 3
    assert list(example.warnings()) == []


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="centers_list: cannot read it: No such file"):
        read_centers_list(tmp_path / "centers_list")
    (tmp_path / "centers_list").write_bytes(b"1 \xff 1 2")
    with pytest.raises(ConfigError, match="centers_list: not UTF-8 text: invalid start byte"):
        read_centers_list(tmp_path / "centers_list")


def test_the_default_is_the_first_path_that_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    monkeypatch.setattr(centers_list, "DEFAULT_PATHS", (here, there))
    with pytest.raises(ConfigError, match="neither .*here nor .*there exists"):
        default_path()
    there.touch()
    assert default_path() == there
    here.touch()
    assert default_path() == here


@given(st.text(alphabet="01a:[].# \n\t7é", max_size=60))
def test_any_text_is_a_list_or_a_config_error(text: str) -> None:
    with suppress(ConfigError):
        found = parse_centers_list(text, "list")
        assert parse_centers_list("\n".join(map(str, found.centers)), "list").digest()
