"""Files of secrets: their modes, what stands in them, and what is never said of it."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from libevrpc import credentials
from libevrpc.cli.main import main
from libevrpc.credentials import read_secrets, read_tokens, write_secret
from libevrpc.errors import ConfigError

SECRET = "a-secret-of-32-characters-1234567"


def file_of(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_written_secret_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    before = os.umask(0)
    try:
        write_secret(path, "about", SECRET)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_secrets(path, "token_file") == [SECRET]


def test_a_secret_is_never_overwritten(tmp_path: Path) -> None:
    path = file_of(tmp_path, SECRET)
    with pytest.raises(ConfigError, match="secret exists already; a secret is never overwritten"):
        write_secret(path, "about", "another")
    assert path.read_text() == SECRET


def test_a_secret_that_cannot_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="cannot make it: No such file"):
        write_secret(tmp_path / "none" / "secret", "about", SECRET)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(credentials.os, "fsync", full)
    with pytest.raises(ConfigError, match="cannot write it: No space left"):
        write_secret(tmp_path / "secret", "about", SECRET)
    assert not (tmp_path / "secret").exists()


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620, 0o602, 0o777])
def test_a_secret_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = file_of(tmp_path, SECRET, mode)
    with pytest.raises(
        ConfigError, match=rf"others may .* \(mode {mode:04o}\); chmod 600 .*secret"
    ):
        read_secrets(path, "token_file")


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o640])
def test_a_secret_of_owner_and_group_is_read(tmp_path: Path, mode: int) -> None:
    path = file_of(tmp_path, f"# comment\n\n  {SECRET} \n", mode)
    assert read_secrets(path, "token_file") == [SECRET]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "nothing stands in it"),
        ("# only this\n", "nothing stands in it"),
        ("é" * 20, "no such file as"),
        ("x" * (credentials.FILE_BYTES_MAX + 1), "no such file as"),
    ],
)
def test_other_files_are_named(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=f"token_file = .*secret: {complaint}"):
        read_secrets(file_of(tmp_path, text), "token_file")
    with pytest.raises(ConfigError, match="token_file = .*none: cannot read it: No such file"):
        read_secrets(tmp_path / "none", "token_file")


def test_every_token_is_accepted_and_the_first_is_shown(tmp_path: Path) -> None:
    tokens = read_tokens(str(file_of(tmp_path, f"{SECRET}\n{SECRET}-2\n")))
    assert tokens is not None
    assert tokens.shown == SECRET.encode()
    assert tokens.accept(SECRET.encode())
    assert tokens.accept(f"{SECRET}-2".encode())
    assert not tokens.accept(SECRET[:-1].encode())
    assert not tokens.accept(b"")
    assert SECRET not in repr(tokens)
    assert read_tokens("") is None


@pytest.mark.parametrize("token", ["short", "x" * 513, "with\x01control-characters"])
def test_what_is_no_token_is_not_repeated(tmp_path: Path, token: str) -> None:
    path = file_of(tmp_path, token)
    with pytest.raises(ConfigError, match="a token is 16 to 512 printable characters") as caught:
        read_tokens(str(path))
    assert token not in str(caught.value)


def test_keygen_makes_a_key_and_knows_its_public_half_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "center.key"
    assert main(["keygen", "center", str(path)]) == 0
    made = capsys.readouterr()
    public = made.out.strip()
    assert len(bytes.fromhex(public)) == 32
    assert "append the public key to the center's line" in made.err
    (secret,) = read_secrets(path, "key_file")
    assert len(bytes.fromhex(secret)) == 32
    assert secret not in made.out + made.err
    assert main(["keygen", "public", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"key_file": str(path), "public_key": public}
    assert main(["keygen", "center", str(path)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_keygen_makes_tokens_and_prints_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["keygen", "token", str(first)]) == 0
    assert main(["keygen", "token", str(second), "--json"]) == 0
    told = capsys.readouterr()
    one, other = read_tokens(str(first)), read_tokens(str(second))
    assert one is not None
    assert other is not None
    assert one.shown != other.shown
    assert one.shown.decode() not in told.out + told.err
    assert json.loads(told.out.splitlines()[-1]) == {"token_file": str(second)}


@pytest.mark.parametrize("text", ["not hexadecimal", "abcd", "00" * 32 + "\n" + "00" * 32])
def test_keygen_names_a_file_without_a_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    path = file_of(tmp_path, text)
    assert main(["keygen", "public", str(path)]) == 2
    assert "no such file as `libevrpc keygen center` writes" in capsys.readouterr().err
