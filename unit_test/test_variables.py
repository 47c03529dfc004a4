"""Variables of the environment that look like settings: told of once, with what was meant."""

from __future__ import annotations

import pytest

from libevrpc import variables
from libevrpc.variables import TOLD_MAX, warn_of_strangers

KNOWN = {
    "server": ("threads", "log_calls", "drain_s"),
    "client": ("timeout_s", "log_calls"),
    "center": ("threads", "heartbeat_s"),
}


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variables, "_told", set())


def told(caplog: pytest.LogCaptureFixture, *names: str) -> list[str]:
    """Return what is told of these variables."""
    caplog.clear()
    warn_of_strangers(dict.fromkeys(names, "1"), KNOWN)
    return [each.getMessage() for each in caplog.records]


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("LIBEVRPC_TIMEOUT", "LIBEVRPC_CLIENT_TIMEOUT_S"),
        ("LIBEVRPC_TIMEOUT_S", "LIBEVRPC_CLIENT_TIMEOUT_S"),
        ("LIBEVRPC_SERVER_TIMEOUT_S", "LIBEVRPC_CLIENT_TIMEOUT_S"),
        ("LIBEVRPC_SERVER_THRED", "LIBEVRPC_SERVER_THREADS"),
        ("LIBEVRPC_THREADS", "LIBEVRPC_CENTER_THREADS or LIBEVRPC_SERVER_THREADS"),
        ("LIBEVRPC_CLIENT_LOGCALLS", "LIBEVRPC_CLIENT_LOG_CALLS"),
        ("libevrpc_client_timeout_s", "LIBEVRPC_CLIENT_TIMEOUT_S"),
    ],
)
def test_what_was_meant_is_named(
    caplog: pytest.LogCaptureFixture, variable: str, meant: str
) -> None:
    [text] = told(caplog, variable)
    assert text == (
        f"environment variable {variable} is no setting and does nothing; did you mean {meant}?"
    )
    assert told(caplog, variable) == [], "told once"


def test_where_nothing_is_like_it_the_files_are_named(caplog: pytest.LogCaptureFixture) -> None:
    [text] = told(caplog, "LIBEVRPC_QQQQ")
    assert text.endswith("does nothing; config/*.ini list all settings")


def test_settings_and_what_platforms_set_are_not_told_of(caplog: pytest.LogCaptureFixture) -> None:
    settings = ("LIBEVRPC_SERVER_THREADS", "LIBEVRPC_CLIENT_TIMEOUT_S", "LIBEVRPC_CENTER_THREADS")
    platform = (
        "LIBEVRPC_SERVER_SERVICE_HOST",
        "LIBEVRPC_SERVER_SERVICE_PORT_HTTP",
        "LIBEVRPC_SERVER_PORT",
        "LIBEVRPC_SERVER_PORT_9998_TCP_ADDR",
        "LIBEVRPC_PORT_9998_UDP",
    )
    assert told(caplog, *settings, *platform, "HOME", "EVRPC_TIMEOUT", "LIBEVRPC_TEST_X") == []


def test_only_so_many_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    names = [f"LIBEVRPC_NONSENSE_{number}" for number in range(TOLD_MAX + 5)]
    assert len(told(caplog, *names)) == TOLD_MAX
    assert told(caplog, "LIBEVRPC_TIMEOUT") == []
