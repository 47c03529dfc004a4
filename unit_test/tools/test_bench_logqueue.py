from __future__ import annotations

import pytest
from bench_logqueue import WAYS, main


def test_every_way_writes_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--lines", "200", "--runs", "1", "--threads", "1,2"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[:2] for row in rows] == [[name, threads] for threads in "12" for name in WAYS]
    assert all(int(figure.replace(",", "")) > 0 for row in rows for figure in row[2:])
