"""Print one interpreter per supported Python version but the one that runs this, oldest first."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

OLDEST = (3, 11)
NEWEST = (3, 13)
PROBE = "import ensurepip, sys, venv; print(*sys.version_info[:2])"


def candidates() -> Iterator[str]:
    """Yield programs that may be interpreters: from PATH, then pyenv's versions."""
    for minor in range(OLDEST[1], NEWEST[1] + 1):
        found = shutil.which(f"python3.{minor}")
        if found:
            yield found
    pyenv = shutil.which("pyenv")
    if pyenv:
        answer = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False)
        versions = Path(answer.stdout.strip() or os.devnull) / "versions"
        yield from sorted(str(path) for path in versions.glob("3.*/bin/python"))


def version_of(program: str) -> tuple[int, ...] | None:
    """Return (major, minor) of an interpreter; None if it does not run (a dead shim), or no
    environment can be made of it (a distribution keeps that in another package)."""
    answer = subprocess.run([program, "-c", PROBE], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        return None
    return tuple(int(number) for number in answer.stdout.split())


def main() -> None:
    by_version: dict[tuple[int, ...], str] = {}
    for program in candidates():
        version = version_of(program)
        if version is None:
            print(f"left out: {program} does not run, or makes no venv", file=sys.stderr)
        elif OLDEST <= version <= NEWEST:
            by_version.setdefault(version, program)
    by_version.pop(sys.version_info[:2], None)
    for version in sorted(by_version):
        print(by_version[version])


if __name__ == "__main__":
    main()
