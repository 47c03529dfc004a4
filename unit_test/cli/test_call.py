"""`libevrpc call` and `list`: requests in JSON, descriptions from the server."""

from __future__ import annotations

import importlib.util
import io
import json
from pathlib import Path
from typing import Any

import pytest

from libevrpc import ServerController
from libevrpc.cli.main import main
from libevrpc.cli.output import ExitStatus
from libevrpc.core.prpc import Request
from libevrpc.core.prpc_encode import encode_reply
from libevrpc.gen import internal_pb2
from unit_test.cli.foreign_peer import ForeignPeer
from unit_test.fix_net import free_port

pytestmark = pytest.mark.live

PROTO = Path(__file__).resolve().parents[2] / "samples" / "echo" / "echo.proto"
HI = '{"request": "hi"}'


def test_a_protobuf_method_is_called_without_any_file(run: Any, serving: Any) -> None:
    done = run("call", serving.address, "echo.EchoService/Echo", "-d", HI)
    assert done.status == 0
    assert done.json == {"response": "hi"}
    short = run("call", serving.address, "EchoService.Echo", "-d", HI, "--json")
    assert short.out == '{"response": "hi"}\n'


def test_a_request_that_is_left_out_is_empty_and_defaults_are_shown(run: Any, serving: Any) -> None:
    assert run("call", serving.address, "EchoService/Echo").json == {"response": ""}
    assert run("call", serving.address, "Foo.Sum").json == 0


def test_a_plain_object_takes_an_array_or_named_arguments(run: Any, serving: Any) -> None:
    assert run("call", serving.address, "Foo.Sum", "-d", "[1, 2.5]").json == 3.5
    assert run("call", serving.address, "Foo/Sum", "-d", '{"scale": 2}').json == 0


@pytest.mark.parametrize("given", ["3", '"text"', "null true", '{"key": 1}'])
def test_other_arguments_of_a_plain_object_are_refused(run: Any, serving: Any, given: str) -> None:
    done = run("call", serving.address, "Foo.Sum", "-d", given)
    assert done.status == 2
    assert "-d" in done.err


def test_the_request_may_come_from_a_file_or_standard_input(
    run: Any, serving: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "request.json"
    file.write_text(HI)
    words = ("call", serving.address, "EchoService/Echo", "-d")
    assert run(*words, f"@{file}").json == {"response": "hi"}
    monkeypatch.setattr("sys.stdin", io.StringIO(HI))
    assert run(*words, "-").json == {"response": "hi"}
    missing = run(*words, "@/nowhere/request.json")
    assert (missing.status, "cannot read it" in missing.err) == (2, True)
    file.write_bytes(b"\xff\xfe")
    assert "not UTF-8" in run(*words, f"@{file}").err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{", "not JSON"),
        ('{"wrong": 1}', "echo.EchoRequest"),
        ('{"request": 7}', "echo.EchoRequest"),
        ("[1]", "echo.EchoRequest"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_request_that_does_not_fit_is_wrong_usage(
    run: Any, serving: Any, given: str, said: str
) -> None:
    done = run("call", serving.address, "EchoService/Echo", "-d", given)
    assert done.status == 2
    assert said in done.err
    assert serving.handler.calls == []


def test_an_unknown_service_or_method_names_those_there_are(run: Any, serving: Any) -> None:
    done = run("call", serving.address, "x.Nope/Echo", "--json")
    assert done.status == 1
    assert done.json["error"]["code"] == "UNIMPLEMENTED"
    assert "echo.EchoService" in done.json["error"]["text"]
    assert "methods: Echo" in run("call", serving.address, "EchoService/Nope").err
    assert "methods: Sum" in run("call", serving.address, "Foo/Nope").err.replace("add, ", "")


def test_what_a_handler_raises_fails_the_call(run: Any, serving: Any) -> None:
    done = run("call", serving.address, "EchoService/Echo", "-d", '{"request": "raise"}')
    assert done.status == 1
    assert done.err == "libevrpc: UNKNOWN (2001): ValueError: as asked"
    words = ("call", serving.address, "EchoService/Echo", "-d", '{"request": "raise"}', "--json")
    error = run(*words).json["error"]
    assert error == {"code": "UNKNOWN", "errno": 2001, "text": "ValueError: as asked"}


def test_an_unreachable_server_has_a_status_of_its_own(run: Any) -> None:
    address = f"127.0.0.1:{free_port()}"
    done = run("call", address, "EchoService/Echo")
    assert done.status == 3
    assert f"{address}: cannot connect" in done.err
    as_json = run("list", address, "--json")
    assert as_json.status == 3
    assert as_json.json["error"]["code"] == "UNAVAILABLE"


def test_a_variable_that_is_no_setting_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIBEVRPC_TIMEOUT", "3")
    monkeypatch.setattr("libevrpc.variables._told", set())
    assert main(["list", "127.0.0.1:1"]) == ExitStatus.UNREACHABLE
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("; did you mean LIBEVRPC_CLIENT_TIMEOUT_S?")
    assert second.startswith("libevrpc: UNAVAILABLE")


def test_a_cluster_without_such_a_server_is_named(run: Any) -> None:
    target = f"center://127.0.0.1:{free_port()}"
    done = run("call", target, "a.B/C", "--timeout", "1.5")  # time enough to be refused
    assert done.status == 3
    assert "no center answers for service a.B (127.0.0.1:" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ("call", "127.0.0.1", "A/B"),
        ("call", "127.0.0.1:x", "A/B"),
        ("call", "carrier://x", "A/B"),
        ("call", "127.0.0.1:1", "Echo"),
        ("call", "127.0.0.1:1", "echo.EchoService/\udcff"),
        ("call", "127.0.0.1:1", "\udcff/Echo"),
        ("bench", "127.0.0.1:1", "echo.EchoService/\udcff"),
        ("call", "127.0.0.1:1", "A/B", "--timeout", "0"),
        ("call", "127.0.0.1:1", "A/B", "--timeout", "soon"),
        ("call", "127.0.0.1:1", "A/B", "--metadata", "novalue"),
        ("call", "127.0.0.1:1"),
        ("list", "center://127.0.0.1:1/not a name"),
        ("bench", "127.0.0.1:1", "A/B", "-c", "0"),
        ("bench", "127.0.0.1:1", "A/B", "-c", "2", "--connections", "3"),
        ("bench", "127.0.0.1:1", "A/B", "-n", "3", "-z", "3"),
        ("status", "list://127.0.0.1:1"),
        ("status", ""),
        ("frobnicate",),
        (),
    ],
)
def test_wrong_words_are_one_line_and_status_2(run: Any, words: tuple[str, ...]) -> None:
    assert run(*words).status == 2
    error = run(*words, "--json").json["error"]
    assert set(error) == {"code", "errno", "text"}
    assert (error["code"], error["errno"]) == ("INVALID_ARGUMENT", 1003)


def test_metadata_travels(run: Any, serving: Any) -> None:
    class Told:
        def fields(self, controller: ServerController) -> str:
            return controller.metadata["who"]

    serving.server.add_object(Told())
    words = ("call", serving.address, "Told.fields", "--metadata", "who=me=you")
    assert run(*words).json == "me=you"


def test_results_that_json_has_no_word_for_are_spelled(run: Any, serving: Any) -> None:
    class Odd:
        def bytes(self) -> bytes:
            return b"\x00\xff"

        def keys(self) -> dict[Any, Any]:
            return {b"k": [1, {2: None}], "s": True}

        def surrogate(self) -> str:
            return "\ud800"

    serving.server.add_object(Odd())
    assert run("call", serving.address, "Odd.bytes").json == "00ff"
    assert run("call", serving.address, "Odd.keys").json == {"6b": [1, {"2": None}], "s": True}
    assert run("call", serving.address, "Odd.surrogate").status == 1


def test_list_shows_types_and_signatures(run: Any, serving: Any) -> None:
    done = run("list", serving.address)
    assert done.status == 0
    assert "  Echo(echo.EchoRequest) -> echo.EchoResponse" in done.out.splitlines()
    assert "Foo  (plain object)" in done.out
    listed = {
        each["name"]: each for each in run("list", serving.address, "--json").json["services"]
    }
    (echo,) = listed["echo.EchoService"]["methods"]
    assert echo == {
        "name": "Echo",
        "input_type": "echo.EchoRequest",
        "output_type": "echo.EchoResponse",
    }
    assert listed["Foo"]["plain"]
    assert {each["name"] for each in listed["Foo"]["methods"]} >= {"Sum", "who"}


def test_a_server_that_describes_nothing_needs_a_file(run: Any) -> None:
    with ForeignPeer() as peer:
        done = run("call", peer.address, "echo.EchoService/Echo")
        assert (done.status, "pass --proto" in done.err) == (1, True)
        assert "pass --proto" in run("list", peer.address).err
        words = ("call", peer.address, "EchoService/Echo", "--proto", str(PROTO))
        assert "Fail to find service=echo.EchoService" in run(*words).err


def test_a_proto_file_stands_for_the_description(
    run: Any, serving: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("call", serving.address, "EchoService/Echo", "-d", HI, "--proto")
    assert run(*words, str(PROTO)).json == {"response": "hi"}
    broken = tmp_path / "broken.proto"
    broken.write_text('syntax = "proto3";\nmessage M { nope x = 1; }\n')
    for proto, said in (
        (str(tmp_path / "none.proto"), "no such file"),
        (str(broken), "broken.proto:2:13"),
    ):
        done = run(*words, proto)
        assert (done.status, said in done.err) == (2, True)
    unknown = run("call", serving.address, "Nope/Echo", "--proto", str(PROTO))
    assert "services: echo.EchoService" in unknown.err
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install grpcio-tools" in run(*words, str(PROTO)).err


@pytest.mark.parametrize(
    "description",
    [
        internal_pb2.DescribeResponse(),
        internal_pb2.DescribeResponse(services=[{"name": "a.B"}]),
        internal_pb2.DescribeResponse(services=[{"name": "a.B"}], files=[b"\xff\xff"]),
        internal_pb2.DescribeResponse(
            services=[{"name": "a.B"}], files=[b"\n\x01f\x1a\x01g"]
        ),  # imports what is not there
    ],
)
def test_a_description_that_makes_no_sense_is_an_error(run: Any, description: Any) -> None:
    def answer(request: Request) -> bytes:
        return encode_reply(request.correlation_id, description.SerializeToString())

    with ForeignPeer(answer) as peer:
        done = run("call", peer.address, "a.B/C")
    assert (done.status, "INTERNAL (2002)" in done.err) == (1, True)


def test_version_and_help_are_no_errors(capsys: pytest.CaptureFixture[str]) -> None:
    from libevrpc import __version__
    from libevrpc.cli.main import main

    for words in (["--version"], ["--help"], ["call", "--help"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"libevrpc {__version__}\n")


def test_a_response_is_shown_with_its_names_as_in_the_file(run: Any, serving: Any) -> None:
    words = ("call", serving.address, "EchoService/Echo", "-d", json.dumps({"request": "é\n☃"}))
    done = run(*words, "--json")
    assert done.out == '{"response": "é\\n☃"}\n'
