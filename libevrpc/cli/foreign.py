"""Services of servers that do not describe themselves: from a .proto file."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from libevrpc.cli.catalog import pool_of
from libevrpc.errors import UsageError

__all__ = ["compiled_service"]

_COMPILE_S = 60.0
_COMPLAINT = re.compile(r"\S+\.proto:\d+:\d+: (?!warning)|\S+: (File|Import|Input)")
"""Lines of the compiler that say what is wrong, unlike its log."""


def compiled_service(proto: str, name: str) -> ServiceDescriptor:
    """Compile `proto` and return its service of that full or short name.

    What it imports is looked for beside it and below the working directory.

    Raises:
        UsageError: no such file, no compiler, errors in it, or no such service.
    """
    path = Path(proto)
    if not path.is_file():
        raise UsageError(f"--proto {proto}: no such file")
    if importlib.util.find_spec("grpc_tools") is None:
        raise UsageError("--proto needs the protobuf compiler: pip install grpcio-tools")
    descriptors = _compile(path)
    pool = pool_of([file.SerializeToString() for file in descriptors.file])
    known = {}
    for file in descriptors.file:
        described = pool.FindFileByName(file.name)
        known.update({each.full_name: each for each in described.services_by_name.values()})
    found = [full for full in known if name in (full, full.rpartition(".")[2])]
    if len(found) != 1:
        listed = ", ".join(known) or "none"
        raise UsageError(f"--proto {proto}: no service {name!r} in it; services: {listed}")
    return known[found[0]]


def _compile(path: Path) -> FileDescriptorSet:
    """Run the compiler in a process of its own: its complaints go to standard error."""
    with tempfile.TemporaryDirectory(prefix="libevrpc-") as folder:
        out = Path(folder) / "set"
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{path.parent}", "-I."]
        command += ["--include_imports", f"--descriptor_set_out={out}", str(path)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_COMPILE_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise UsageError(f"--proto {path}: the compiler did not end") from None
        if done.returncode:
            lines = done.stderr.splitlines()
            found = [line for line in lines if _COMPLAINT.match(line)] or lines[-1:]
            raise UsageError(f"--proto {path}: {found[0] if found else 'does not compile'}")
        return FileDescriptorSet.FromString(out.read_bytes())
