"""Generate message modules from .proto files; `--check` fails when they are out of date.

Usage: python tools/gen_proto.py [--check]

protoc's Python output refuses every runtime older than the compiler, so the modules
written here embed the serialized descriptor instead and build their classes from it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

ROOT = Path(__file__).resolve().parent.parent
LINE_CHARS = 90


@dataclass(frozen=True, slots=True)
class Source:
    """One .proto: where it lies, the name it has in descriptor pools, where its module goes."""

    proto: str
    pool_name: str
    folder: str


SOURCES = (
    Source("libevrpc/proto/rpc_meta.proto", "libevrpc/rpc_meta.proto", "libevrpc/gen"),
    Source("libevrpc/proto/internal.proto", "libevrpc/internal.proto", "libevrpc/gen"),
    Source("libevrpc/proto/center.proto", "libevrpc/center.proto", "libevrpc/gen"),
    Source("libevrpc/proto/mprpc.proto", "libevrpc/mprpc.proto", "libevrpc/gen"),
    Source("samples/echo/echo.proto", "echo.proto", "samples/echo"),
    Source("samples/mprpc_user/fixbug.proto", "fixbug.proto", "samples/mprpc_user"),
)


def compiled(source: Source, scratch: Path) -> tuple[FileDescriptorProto, str]:
    """Run protoc; returns the descriptor and the type stub it writes."""
    from grpc_tools import protoc

    root = scratch / source.pool_name.replace("/", "_")
    staged = root / "in" / source.pool_name
    staged.parent.mkdir(parents=True)
    staged.write_bytes((ROOT / source.proto).read_bytes())
    out = root / "out"
    out.mkdir()
    status = protoc.main(
        [
            "protoc",
            f"-I{root / 'in'}",
            f"--descriptor_set_out={root / 'set'}",
            f"--pyi_out={out}",
            source.pool_name,
        ]
    )
    if status:
        sys.exit(f"gen_proto: {source.proto} does not compile")
    descriptors = FileDescriptorSet.FromString((root / "set").read_bytes())
    stub = next(out.rglob("*.pyi")).read_text()
    descriptor = descriptors.file[0]
    for message in descriptor.message_type:
        drop_json_names(message)
    return descriptor, stub


def drop_json_names(message: DescriptorProto) -> None:
    """Leave out what runtimes derive themselves.

    protoc's own modules do so too; a pool takes a file twice only if its bytes are equal.
    """
    for field in message.field:
        first, *rest = field.name.split("_")
        if field.json_name == first + "".join(word[:1].upper() + word[1:] for word in rest):
            field.ClearField("json_name")
    for nested in message.nested_type:
        drop_json_names(nested)


def literal(blob: bytes) -> list[str]:
    """Spell `blob` as bytes literals of bounded width, one a line."""
    lines: list[str] = []
    line = ""
    for byte in blob:
        char = chr(byte)
        piece = char if 32 <= byte < 127 and char not in '"\\' else f"\\x{byte:02x}"
        if len(line) + len(piece) > LINE_CHARS:
            lines.append(line)
            line = ""
        line += piece
    return [f'    b"{each}"' for each in [*lines, line]]


def module(source: Source, descriptor: FileDescriptorProto) -> str:
    """Return the text of the Python module."""
    has_enums = bool(descriptor.enum_type)
    imports = ["from google.protobuf import descriptor_pool, message_factory"]
    if has_enums:
        imports.append("from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper")
    lines = [
        f'"""Generated from {source.proto} by tools/gen_proto.py; do not edit."""',
        "",
        *imports,
        "",
        "DESCRIPTOR = descriptor_pool.Default().AddSerializedFile(",
        *literal(descriptor.SerializeToString()),
        ")",
        "",
        "_MESSAGES = DESCRIPTOR.message_types_by_name",
    ]
    lines += [
        f'{each.name} = message_factory.GetMessageClass(_MESSAGES["{each.name}"])'
        for each in descriptor.message_type
    ]
    for enum in descriptor.enum_type:
        name = enum.name
        lines.append(f'{name} = EnumTypeWrapper(DESCRIPTOR.enum_types_by_name["{name}"])')
        lines += [f"{value.name} = {value.number}" for value in enum.value]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write or check every module; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="fail if a file is out of date")
    arguments = parser.parse_args()
    stale: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for source in SOURCES:
            descriptor, stub = compiled(source, Path(folder))
            stem = Path(source.proto).stem + "_pb2"
            wanted = {
                ROOT / source.folder / f"{stem}.py": module(source, descriptor),
                ROOT / source.folder / f"{stem}.pyi": stub,
            }
            for path, text in wanted.items():
                if path.exists() and path.read_text() == text:
                    continue
                stale.append(str(path.relative_to(ROOT)))
                if not arguments.check:
                    path.write_text(text)
    for name in stale:
        print(f"{'out of date' if arguments.check else 'written'}: {name}")
    return 1 if stale and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
