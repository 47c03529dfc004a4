"""`make services` on machines that are not ready for it: one line, nothing done."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent.parent / "tools" / "install_services.sh"

NOTHING_INSTALLED = "exit 1"
ALL_INSTALLED = "echo -n installed"


def install(tmp_path: Path, **programs: str) -> subprocess.CompletedProcess[str]:
    """Run the script where only `programs` exist, each a line of shell."""
    for name, line in {"bash": "", **programs}.items():
        if line:
            path = tmp_path / name.replace("_", "-")
            path.write_text(f"#!/bin/sh\n{line}\n")
            path.chmod(0o755)
    return subprocess.run(
        ["/bin/bash", str(SCRIPT)],
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )


def test_installed_packages_are_left_alone(tmp_path: Path) -> None:
    done = install(tmp_path, dpkg_query=ALL_INSTALLED, apt_get="exit 9", id="echo 1000")
    assert done.returncode == 0
    assert done.stdout.startswith("installed already: libzookeeper-java")


@pytest.mark.parametrize(
    ("programs", "said"),
    [
        ({}, "make services: no apt-get here"),
        ({"dpkg_query": NOTHING_INSTALLED}, "make services: no apt-get here"),
        (
            {"dpkg_query": NOTHING_INSTALLED, "apt_get": "exit 9", "id": "echo 1000"},
            "make services: only root can install libzookeeper-java",
        ),
    ],
)
def test_one_line_says_what_is_missing(tmp_path: Path, programs: dict[str, str], said: str) -> None:
    done = install(tmp_path, **programs)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1
