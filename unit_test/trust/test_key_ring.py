"""Whose key is whose: the list, the key file, and what ZeroMQ is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from center.bus import public_key
from center.centers_list import CentersList, parse_centers_list
from center.trust import AGAIN_S, COMPLAINTS_MAX, Complaints, Doorman, open_key_ring
from libevrpc.errors import ConfigError

SECRETS = [bytes([number]) * 32 for number in range(1, 5)]
KEYS = [public_key(secret).hex() for secret in SECRETS]


def listed(*keys: str) -> CentersList:
    lines = (f"{number} host{number} 1 2 {key}" for number, key in enumerate(keys, start=1))
    return parse_centers_list("\n".join(lines), "list")


@pytest.fixture
def key_file(tmp_path: Path) -> Callable[[bytes], str]:
    def write(secret: bytes) -> str:
        path = tmp_path / "key"
        path.write_text(f"# comment\n{secret.hex()}\n")
        path.chmod(0o600)
        return str(path)

    return write


def complaint_about(centers: CentersList, key_file: str, own_id: int = 1) -> str:
    with pytest.raises(ConfigError) as caught:
        open_key_ring(centers, own_id, key_file, public_key)
    return str(caught.value)


def test_a_list_may_have_a_key_per_center_and_two_while_one_changes() -> None:
    centers = listed(KEYS[0], f"{KEYS[1]},{KEYS[2].upper()}")
    assert centers.keyed
    assert [each.keys for each in centers.centers] == [(KEYS[0],), (KEYS[1], KEYS[2])]
    assert centers.digest() == listed("", "").digest()
    assert not listed("", "").keyed


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        (("abc", KEYS[1]), "list:1: public key 'abc': must be 64 hexadecimal digits"),
        ((KEYS[0], ""), "list:2: no public key, though line 1 has one"),
        (("", KEYS[1]), "list:1: no public key, though line 2 has one"),
        ((KEYS[0], KEYS[0]), "list:2: the public key stands on line 1 already"),
        ((",".join(KEYS[:3]), KEYS[3]), "list:1: 3 public keys: at most the old and the new"),
    ],
)
def test_wrong_keys_in_a_list_name_the_line(keys: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        listed(*keys)
    assert str(caught.value).startswith(complaint)


def test_without_any_key_there_is_no_ring() -> None:
    assert open_key_ring(listed("", ""), 1, "", public_key) is None


def test_a_ring_has_the_keys_of_all_others(key_file: Callable[[bytes], str]) -> None:
    centers = listed(KEYS[0], f"{KEYS[1]},{KEYS[2]}")
    ring = open_key_ring(centers, 1, key_file(SECRETS[0]), public_key)
    assert ring is not None
    assert (ring.secret, ring.public.hex()) == (SECRETS[0], KEYS[0])
    assert ring.peers == {2: (bytes.fromhex(KEYS[1]), bytes.fromhex(KEYS[2]))}
    assert SECRETS[0].hex() not in repr(ring)
    assert repr(SECRETS[0]) not in repr(ring)


def test_a_missing_secret_is_named() -> None:
    expected = "list:2: center 2 has a key there; set key_file to the file with its secret"
    assert complaint_about(listed(*KEYS[:2]), "", 2) == expected


def test_a_secret_without_a_listed_key_is_named(key_file: Callable[[bytes], str]) -> None:
    path = key_file(SECRETS[1])
    assert complaint_about(listed("", ""), path, 2) == (
        f"key_file = {path}, but list has no keys; add each center's to its line,"
        f" {KEYS[1]} to line 2"
    )


def test_the_secret_of_another_center_is_named(key_file: Callable[[bytes], str]) -> None:
    path = key_file(SECRETS[1])
    assert complaint_about(listed(*KEYS[:2]), path, 1) == (
        f"key_file = {path} is not the key of center 1: its public key is {KEYS[1]},"
        f" on list:1 stands {KEYS[0]}"
    )


def test_a_file_without_a_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("this-is-a-token-and-not-a-key\n")
    path.chmod(0o600)
    text = complaint_about(listed(*KEYS[:2]), str(path))
    assert text == f"key_file = {path}: no such file as `libevrpc keygen center` writes"


def question(key: bytes, mechanism: bytes = b"CURVE", address: bytes = b"10.0.0.7") -> list[bytes]:
    return [b"1.0", b"42", b"centers", address, b"", mechanism, key]


def test_the_door_opens_for_listed_keys_and_says_whose() -> None:
    first, second = bytes.fromhex(KEYS[0]), bytes.fromhex(KEYS[1])
    doorman = Doorman({2: (first, second)})
    for key in (first, second):
        reply, host, why = doorman.answer(question(key))
        assert reply == [b"1.0", b"42", b"200", b"OK", b"2", b""]
        assert (host, why) == ("10.0.0.7", "")


@pytest.mark.parametrize(
    "asked",
    [
        question(bytes.fromhex(KEYS[1]), address=b"::ffff:10.0.0.7"),
        question(bytes.fromhex(KEYS[0]), mechanism=b"PLAIN"),
        [b"2.0", *question(bytes.fromhex(KEYS[0]))[1:]],
        question(b""),
    ],
)
def test_the_door_stays_shut_for_all_else(asked: list[bytes]) -> None:
    reply, host, why = Doorman({2: (bytes.fromhex(KEYS[0]),)}).answer(asked)
    assert reply == [b"1.0", b"42", b"400", b"unknown key", b"", b""]
    assert host == "10.0.0.7"
    assert "belongs to no other center of our list" in why


def test_a_question_without_a_key_is_answered_too() -> None:
    reply, host, why = Doorman({}).answer([b"1.0"])
    assert (reply[2], host) == (b"400", "")
    assert why


def test_a_complaint_is_told_once_and_then_with_its_count() -> None:
    complaints = Complaints()
    assert [complaints.due("h", "x", at_s) for at_s in (0.0, 1.0, 2.0)] == [1, 0, 0]
    assert complaints.due("other", "x", 3.0) == 1
    assert complaints.due("h", "x", AGAIN_S) == 3


def test_many_different_complaints_are_no_flood() -> None:
    complaints = Complaints()
    told = [complaints.due("h", str(number), 1.0) for number in range(10 * COMPLAINTS_MAX)]
    assert sum(told) == COMPLAINTS_MAX
    assert complaints.due("h", "later", 1.0 + AGAIN_S) == 1
