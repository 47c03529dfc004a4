"""Generated modules: up to date, namespaced, and good beside protoc's own output."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools import gen_proto

TOOL = Path(gen_proto.__file__)
SOURCE = gen_proto.Source("libevrpc/proto/rpc_meta.proto", "libevrpc/rpc_meta.proto", "out")


@given(st.binary(max_size=400))
def test_literal_is_what_python_reads(blob: bytes) -> None:
    lines = gen_proto.literal(blob)
    assert ast.literal_eval("(" + "\n".join(lines) + ")") == blob
    assert max(map(len, lines)) <= 100


def test_our_files_are_namespaced() -> None:
    for source in gen_proto.SOURCES:
        if source.folder == "libevrpc/gen":
            assert source.pool_name.startswith("libevrpc/")


def test_embedded_bytes_are_those_of_protoc(tmp_path: Path) -> None:
    from grpc_tools import protoc

    descriptor, _ = gen_proto.compiled(SOURCE, tmp_path)
    staged = tmp_path / "in" / SOURCE.pool_name
    staged.parent.mkdir(parents=True)
    shutil.copy(gen_proto.ROOT / SOURCE.proto, staged)
    assert not protoc.main(
        ["protoc", f"-I{tmp_path / 'in'}", f"--python_out={tmp_path}", SOURCE.pool_name]
    )
    calls = [
        node
        for node in ast.walk(ast.parse((tmp_path / "libevrpc/rpc_meta_pb2.py").read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("AddSerializedFile")
    ]
    assert [ast.literal_eval(each.args[0]) for each in calls] == [descriptor.SerializeToString()]


def test_check_passes_on_what_is_here_and_changes_nothing() -> None:
    done = subprocess.run(
        [sys.executable, TOOL, "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_drift_is_found_and_mended(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(gen_proto, "ROOT", tmp_path)
    monkeypatch.setattr(gen_proto, "SOURCES", (SOURCE,))
    proto = tmp_path / SOURCE.proto
    proto.parent.mkdir(parents=True)
    proto.write_text('syntax = "proto3"; message A { int32 b = 1; enum E { Z = 0; } }')
    (tmp_path / "out").mkdir()

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["gen_proto.py", *arguments])
        return gen_proto.main(), capsys.readouterr().out

    stale = "out of date: out/rpc_meta_pb2.py\nout of date: out/rpc_meta_pb2.pyi\n"
    assert run("--check") == (1, stale)
    assert run()[0] == 0
    assert run("--check") == (0, "")
    proto.write_text('syntax = "proto3"; message A { int32 b = 2; enum E { Z = 0; } }')
    assert run("--check") == (1, "out of date: out/rpc_meta_pb2.py\n")


def test_a_proto_that_does_not_compile_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(gen_proto, "ROOT", tmp_path)
    proto = tmp_path / SOURCE.proto
    proto.parent.mkdir(parents=True)
    proto.write_text("nonsense")
    with pytest.raises(SystemExit, match=r"libevrpc/proto/rpc_meta.proto does not compile"):
        gen_proto.compiled(SOURCE, tmp_path / "scratch")
