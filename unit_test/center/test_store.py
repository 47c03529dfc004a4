from __future__ import annotations

import os
import stat
import zlib
from dataclasses import replace
from pathlib import Path

import msgpack
import pytest

from center import store as store_module
from center.core.record import MapRecord, Record
from center.store import Loaded, Store
from libevrpc.errors import ConfigError

RECORD = Record("c1", 7, MapRecord(6, 41, (5, 40), b"\x00map\xff"), True, "d1gest", 2)


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    with Store(tmp_path / "deep" / "down", 1) as store:
        assert store.load() == Loaded(None)


@pytest.mark.parametrize("record", [RECORD, Record(), replace(RECORD, map=None, forgot=True)])
def test_what_was_written_is_read_after_a_restart(tmp_path: Path, record: Record) -> None:
    with Store(tmp_path, 1) as store:
        store.write(replace(record, accepted_epoch=1))
        store.write(record)
    with Store(tmp_path, 1) as store:
        assert store.load() == Loaded(record)


def test_files_are_for_the_owner_alone_and_nothing_is_left_over(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    with Store(folder, 1) as store:
        store.write(RECORD)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "record").stat().st_mode) == 0o600
    assert sorted(each.name for each in folder.iterdir()) == ["lock", "record"]


def test_the_record_is_synced_before_it_is_renamed_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    real_fsync, real_rename = os.fsync, Path.rename

    def fsync(fd: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file")
        real_fsync(fd)

    def rename(path: Path, target: Path) -> Path:
        steps.append("rename")
        return real_rename(path, target)

    with Store(tmp_path, 1) as store:
        monkeypatch.setattr(store_module.os, "fsync", fsync)
        monkeypatch.setattr(Path, "rename", rename)
        store.write(RECORD)
    assert steps == ["file", "rename", "folder"]


def test_a_new_folder_is_as_durable_as_what_is_written_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    real_fsync = os.fsync

    def fsync(fd: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{fd}")))
        real_fsync(fd)

    monkeypatch.setattr(store_module.os, "fsync", fsync)
    folder = tmp_path / "libevrpc" / "center-1"
    with Store(folder, 1):
        assert sorted(synced) == [tmp_path, folder.parent]
    with Store(folder, 1) as store:  # it was not written to: its maker may have died at once
        assert synced[2:] == [folder.parent]
        store.write(RECORD)
        synced.clear()
    Store(folder, 1).close()
    assert synced == []


def test_a_folder_whose_parent_cannot_be_read_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(folder: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(store_module, "_sync", refused)
    Store(tmp_path / "center-1", 1).close()


def test_a_failed_write_leaves_the_old_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with Store(tmp_path, 1) as store:
        store.write(RECORD)
        with monkeypatch.context() as patch:
            patch.setattr(store_module.os, "fsync", full)
            with pytest.raises(OSError, match="No space"):
                store.write(replace(RECORD, accepted_epoch=8))
        assert store.load() == Loaded(RECORD)


def test_a_second_process_with_the_same_folder_gets_one_clear_line(tmp_path: Path) -> None:
    with Store(tmp_path, 1) as store:
        with pytest.raises(ConfigError, match="in use by another center") as caught:
            Store(tmp_path, 1)
        assert "\n" not in str(caught.value)
        store.close()
    Store(tmp_path, 1).close()


def test_another_centers_folder_is_refused(tmp_path: Path) -> None:
    with Store(tmp_path, 1) as store:
        store.write(RECORD)
    with Store(tmp_path, 2) as store, pytest.raises(ConfigError, match="belongs to center 1"):
        store.load()


def test_a_newer_format_is_refused_by_name(tmp_path: Path) -> None:
    checksum = zlib.crc32(b"\x03" + bytes(20)).to_bytes(4, "big")
    (tmp_path / "record").write_bytes(b"evrpc-center\x03" + checksum + bytes(20))
    with Store(tmp_path, 1) as store, pytest.raises(ConfigError, match="newer libevrpc"):
        store.load()


@pytest.mark.parametrize("content", [b"", b"evrpc", b"something else of some length"])
def test_a_foreign_file_is_damage(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "record").write_bytes(content)
    with Store(tmp_path, 1) as store:
        assert "no record of a center" in store.load().damaged


def test_any_torn_or_flipped_byte_is_damage_and_never_a_record(tmp_path: Path) -> None:
    with Store(tmp_path, 1) as store:
        store.write(RECORD)
        path = tmp_path / "record"
        whole = path.read_bytes()
        for cut in range(len(whole)):
            path.write_bytes(whole[:cut])
            loaded = store.load()
            assert loaded.record is None
            assert loaded.damaged
        for place in range(12, len(whole)):  # from the version on
            flipped = bytearray(whole)
            flipped[place] ^= 1
            path.write_bytes(flipped)
            assert "checksum" in store.load().damaged


def test_an_oversized_file_is_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "RECORD_BYTES_MAX", 10)
    (tmp_path / "record").write_bytes(bytes(11))
    with Store(tmp_path, 1) as store:
        assert "over 10 bytes" in store.load().damaged


def test_an_unreadable_record_is_no_empty_disk(tmp_path: Path) -> None:
    (tmp_path / "record").mkdir()
    with Store(tmp_path, 1) as store, pytest.raises(ConfigError, match="needs its record"):
        store.load()


def test_a_folder_that_cannot_be_made_names_the_key(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="set data_dir"):
        Store(tmp_path / "file" / "state", 1)


def test_the_body_is_msgpack_behind_magic_version_and_checksum(tmp_path: Path) -> None:
    with Store(tmp_path, 3) as store:
        store.write(Record())
    content = (tmp_path / "record").read_bytes()
    assert content[:13] == b"evrpc-center\x02"
    assert content[13:17] == zlib.crc32(content[12:13] + content[17:]).to_bytes(4, "big")
    assert msgpack.unpackb(content[17:]) == [3, "", 0, None, False, "", 0, False]


def test_the_first_format_is_still_read(tmp_path: Path) -> None:
    with Store(tmp_path, 1) as store:
        store.write(RECORD)
        path = tmp_path / "record"
        body = path.read_bytes()[17:]
        old = b"evrpc-center\x01" + zlib.crc32(body).to_bytes(4, "big") + body
        path.write_bytes(old)
        assert store.load() == Loaded(RECORD)
        path.write_bytes(old[:12] + b"\x02" + old[13:])
        assert "checksum" in store.load().damaged


@pytest.mark.parametrize(
    "record",
    [
        Record("c1", (1 << 63) - 1),
        Record("c1", -1),
        replace(RECORD, map=MapRecord(7, 1 << 63, (5, 40), b"map")),
    ],
)
def test_a_record_with_numbers_out_of_all_proportion_is_damage(
    tmp_path: Path, record: Record
) -> None:
    with Store(tmp_path, 1) as store:
        store.write(record)
        loaded = store.load()
    assert loaded.record is None
    assert "an epoch or version" in loaded.damaged


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        *map(
            msgpack.packb,
            (
                7,
                [1, 2],
                [1, "c", 0, None, False, "", 0],
                [1, "c", True, None, False, "", 0, False],
                [1, "c", 0, None, 0, "", 0, False],
                [1, b"c", 0, None, False, "", 0, False],
                [1, "c", 0, [1, 2], False, "", 0, False],
                [1, "c", 0, [1, 2, [0], b""], False, "", 0, False],
                [1, "c", 0, [1, 2, [0, 0], "map"], False, "", 0, False],
            ),
        ),
    ],
)
def test_a_record_of_another_shape_is_damage(tmp_path: Path, body: bytes) -> None:
    checksum = zlib.crc32(b"\x02" + body).to_bytes(4, "big")
    (tmp_path / "record").write_bytes(b"evrpc-center\x02" + checksum + body)
    with Store(tmp_path, 1) as store:
        loaded = store.load()
    assert loaded.record is None
    assert "no record of a center" in loaded.damaged
