"""Settings: precedence, ranges, what is said about what is wrong; config/ holds the same."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from libevrpc.core.balancers import BALANCERS
from libevrpc.core.prpc import META_ROOM_BYTES
from libevrpc.errors import ConfigError
from libevrpc.rules import BODY_BYTES_LEAST
from libevrpc.settings import (
    BALANCER_NAMES,
    KINDS,
    CenterSettings,
    ClientSettings,
    ServerSettings,
    load_settings,
    parse_value,
    rules_of,
)
from tools.gen_config import CONFIG, lines_of, unit_of

SECTIONS = sorted(KINDS)
NUMBERS_WITHOUT_UNIT = {"weight"}


def refused(kind: type, **arguments: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(kind, arguments=arguments, environ={})
    return str(caught.value)


@pytest.fixture
def ini(tmp_path: Path) -> Path:
    path = tmp_path / "my.ini"
    path.write_text("[server]\nthreads = 3\nworkers = 5\nqueue_max = 7\n[client]\ntimeout_s = 2\n")
    return path


def test_argument_comes_before_environment_before_file_before_default(ini: Path) -> None:
    environ = {"LIBEVRPC_SERVER_THREADS": "4", "LIBEVRPC_SERVER_WORKERS": "6"}
    settings = load_settings(
        ServerSettings, config=ini, arguments={"threads": 5, "weight": None}, environ=environ
    )
    assert (settings.threads, settings.workers, settings.queue_max) == (5, 6, 7)
    assert settings.weight == 1.0


def test_one_file_may_serve_client_and_server(ini: Path) -> None:
    assert load_settings(ClientSettings, config=ini, environ={}).timeout_s == 2.0


def test_a_file_without_the_section_changes_nothing(ini: Path) -> None:
    assert load_settings(CenterSettings, config=ini, environ={}) == CenterSettings()


def test_the_environment_of_this_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIBEVRPC_CLIENT_BALANCER", "round_robin")
    assert load_settings(ClientSettings).balancer == "round_robin"


def test_variables_that_name_no_setting_stop_nobody(caplog: pytest.LogCaptureFixture) -> None:
    environ = {"LIBEVRPC_SERVER_SERVICE_HOST": "10.0.0.1", "LIBEVRPC_SERVER_THREADZ": "4"}
    for _ in range(2):
        assert load_settings(ServerSettings, environ=environ) == ServerSettings()
    assert [each.getMessage() for each in caplog.records] == [
        "environment variable LIBEVRPC_SERVER_THREADZ is no setting and does nothing; did you mean"
        " LIBEVRPC_SERVER_THREADS?"
    ]


def test_more_processes_than_one_are_refused_with_what_to_do() -> None:
    with pytest.raises(ConfigError) as refused:
        load_settings(ServerSettings, arguments={"processes": 2}, environ={})
    assert str(refused.value) == (
        "argument processes = 2: must be at most 1; one process is all that a server is so far:"
        " start several servers on this host, each with a port of its own, and give their clients a"
        " registry, or list://host:port,host:port"
    )


def test_settings_never_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ServerSettings().threads = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("listen", "a:1, [::1]:2,,", ("a:1", "[::1]:2")),
        ("body_bytes_max", "2 MiB", 2 * 1024 * 1024),
        ("body_bytes_max", "8192", 8192),
        ("drain_s", "0", 0.0),
        ("registry", " list://a:1 ", "list://a:1"),
        ("threads", "4", 4),
    ],
)
def test_text_becomes_a_value(name: str, text: str, value: object) -> None:
    assert parse_value(ServerSettings, name, text) == value


@pytest.mark.parametrize(("text", "value"), [("Yes", True), ("on", True), ("0", False)])
def test_truth_has_several_spellings(text: str, value: bool) -> None:
    assert parse_value(ClientSettings, "long_poll", text) is value


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("threads = two", "threads = two: must be a whole number"),
        ("threads = 4 KiB", "threads = 4 KiB: must be a whole number"),
        ("threads = 0", "threads = 0: must be at least 1"),
        ("threads = 65", "threads = 65: must be at most 64"),
        ("drain_s = nan", "drain_s = nan: must be a number such as 0.5"),
        ("drain_s = soon", "drain_s = soon: must be a number such as 0.5"),
        (
            "body_bytes_max = 4 GB",
            "body_bytes_max = 4 GB: must be a number of bytes, such as 65536, 64 KiB or 64 MiB",
        ),
        ("security = off", "security = off: must be one of: loopback, none"),
        ("thread = 2", "unknown key 'thread' in [server]; did you mean 'threads'?"),
    ],
)
def test_a_wrong_value_names_file_and_line(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "my.ini"
    path.write_text(f"[server]\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(ServerSettings, config=path, environ={})
    assert str(caught.value) == f"{path}:2: {complaint}"


def test_a_wrong_value_of_another_section_is_named_too(tmp_path: Path) -> None:
    path = tmp_path / "my.ini"
    path.write_text("[client]\nlong_poll = maybe\n")
    with pytest.raises(ConfigError, match="my.ini:2: long_poll = maybe: must be true or false"):
        load_settings(ServerSettings, config=path, environ={})


def test_a_wrong_variable_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(CenterSettings, environ={"LIBEVRPC_CENTER_THREADS": "0"})
    assert str(caught.value) == (
        "environment variable LIBEVRPC_CENTER_THREADS: threads = 0: must be at least 1"
    )


def test_values_that_do_not_fit_together_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "my.ini"
    path.write_text("[client]\npull_min_s = 90\n")
    with pytest.raises(ConfigError) as caught:
        load_settings(ClientSettings, config=path, environ={})
    assert str(caught.value) == (
        f"{path}: [client] pull_min_s = 90.0: must be at most pull_max_s (60.0)"
    )


def test_a_file_is_blamed_only_for_what_stands_in_it(tmp_path: Path) -> None:
    path = tmp_path / "ok.ini"
    path.write_text("[server]\nthreads = 2\nunsent_bytes_max = 64 MiB\n")
    pause = "[server] unsent_pause_bytes = 134217728: must be at most unsent_bytes_max (67108864)"
    both = {"unsent_pause_bytes": 2**27, "unsent_bytes_max": 2**26}
    for arguments, text in (
        ({"threads": 0}, "argument threads = 0: must be at least 1"),
        ({"security": "off"}, "argument security = off: must be one of: loopback, none"),
        ({"unsent_pause_bytes": 2**27}, f"{path}: {pause}"),
        (both, pause),
    ):
        with pytest.raises(ConfigError) as caught:
            load_settings(ServerSettings, config=path, arguments=arguments, environ={})
        assert str(caught.value) == text


@pytest.mark.parametrize("kind", [ServerSettings, ClientSettings])
def test_the_least_body_holds_a_payload_beside_its_meta(kind: type) -> None:
    assert BODY_BYTES_LEAST >= 2 * META_ROOM_BYTES
    assert refused(kind, body_bytes_max=META_ROOM_BYTES).endswith("must be at least 8192")
    assert kind(body_bytes_max=BODY_BYTES_LEAST).body_bytes_max == BODY_BYTES_LEAST


def test_arguments_are_checked() -> None:
    assert refused(ServerSettings, thread=1).endswith("; did you mean 'threads'?")
    assert refused(ServerSettings, threads="2").endswith("must be a whole number")
    assert refused(ServerSettings, threads=True).endswith("must be a whole number")
    assert refused(ServerSettings, drain_s=float("inf")).endswith("must be a number")
    assert refused(ClientSettings, long_poll=1).endswith("must be True or False")
    assert refused(ServerSettings, registry=1).endswith("must be a string")
    assert refused(ServerSettings, listen=3).endswith("must be a string or a list of strings")
    assert refused(ServerSettings, listen=[3]).endswith("must be a string or a list of strings")
    assert refused(ServerSettings, threads=0) == "argument threads = 0: must be at least 1"


def test_words_with_commas_mean_the_same_everywhere() -> None:
    for value in ("all, geerpc", ["all", "geerpc"], ("all", "geerpc")):
        loaded = load_settings(ServerSettings, arguments={"wires": value}, environ={})
        assert loaded.wires == ("all", "geerpc")
    environ = {"LIBEVRPC_SERVER_WIRES": "all, geerpc"}
    assert load_settings(ServerSettings, environ=environ).wires == ("all", "geerpc")


@pytest.mark.parametrize("name", ["host", "port", "address"])
def test_what_others_call_an_address_is_known(name: str) -> None:
    said = f"argument {name!r}: no such setting; did you mean "
    assert refused(ServerSettings, **{name: 4}) == f"{said}'listen'?"
    assert "listen" not in refused(ClientSettings, **{name: 4})


def test_arguments_may_be_written_the_short_way() -> None:
    settings = load_settings(
        ServerSettings, arguments={"listen": "a:1", "tags": ["x", "y"], "drain_s": 3}, environ={}
    )
    assert (settings.listen, settings.tags, settings.drain_s) == (("a:1",), ("x", "y"), 3.0)


@pytest.mark.parametrize(
    ("kind", "values", "word"),
    [
        (ServerSettings, {"listen": ()}, "at least one address"),
        (ServerSettings, {"unsent_pause_bytes": 2**27}, "at most unsent_bytes_max"),
        (ServerSettings, {"body_bytes_max": 2**27}, "the longest reply could not be sent"),
        (CenterSettings, {"lease_s": 0.19}, "the lease ends between two heartbeats"),
        (CenterSettings, {"vote_retry_max_s": 0.05}, "vote_retry_max_s = 0.05: must be at least"),
        (CenterSettings, {"patience_s": 0.3}, "two leaders could overlap"),
        (CenterSettings, {"expiry_s": 1.0}, "servers expire between two reports"),
        (CenterSettings, {"suspect_max_s": 3.0}, "no server is ever a suspect"),
    ],
)
def test_values_must_fit_together(kind: type, values: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        kind(**values)


@pytest.mark.parametrize("section", SECTIONS)
def test_config_file_holds_every_setting_with_its_default(section: str) -> None:
    text = (CONFIG / f"{section}.ini").read_text()
    assert text == "\n".join(lines_of(section)) + "\n", "run: python tools/gen_config.py"
    assert load_settings(KINDS[section], config=CONFIG / f"{section}.ini", environ={}) == (
        KINDS[section]()
    )


def test_the_names_of_balancers_are_those_there_are() -> None:
    assert tuple(BALANCERS) == BALANCER_NAMES


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_has_a_purpose_and_numbers_have_units(section: str) -> None:
    for each in dataclasses.fields(KINDS[section]):
        assert rules_of(KINDS[section])[each.name].about
        if isinstance(each.default, float) and each.name not in NUMBERS_WITHOUT_UNIT:
            assert unit_of(each.name), f"{each.name} does not say its unit"


@pytest.mark.parametrize("kind", [ServerSettings, ClientSettings, CenterSettings])
def test_every_setting_is_obeyed_somewhere(kind: type) -> None:
    root = Path(__file__).resolve().parent.parent
    code = "".join(
        path.read_text()
        for package in ("libevrpc", "center")
        for path in (root / package).rglob("*.py")
        if path.name != "settings.py"
    )
    unread = [
        each.name
        for each in dataclasses.fields(kind)
        if not re.search(rf"settings\.{each.name}\b", code)
    ]
    assert unread == (["processes"] if kind is ServerSettings else [])  # can be 1 only
