"""Which adapter serves a target, and what is said where one is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from libevrpc import RpcClient, RpcServer
from libevrpc.core.targets import TARGET_PARSERS, parse_target
from libevrpc.errors import ConfigError
from libevrpc.registry import opening
from libevrpc.registry.fixed import FixedResolver
from libevrpc.registry.opening import open_registrar, open_resolver
from libevrpc.settings import ClientSettings, ServerSettings


@pytest.mark.parametrize("text", ["a:1", "unix:///run/a", "list://a:1,b:1"])
def test_lists_need_no_registry(text: str) -> None:
    target = parse_target(text)
    assert isinstance(open_resolver(target, "x.Y", ClientSettings()), FixedResolver)
    with pytest.raises(ConfigError, match=f"registry = {text}: servers cannot be announced"):
        open_registrar(target, ServerSettings())


def test_every_scheme_has_an_adapter() -> None:
    assert set(opening._ADAPTERS) == set(TARGET_PARSERS) - {"list"}  # noqa: SLF001 - the table
    assert set(opening.ANNOUNCING) < set(TARGET_PARSERS)


def test_a_missing_library_is_named_with_what_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lacking.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(opening, "_PACKAGE", "")
    monkeypatch.setattr(opening, "_ADAPTERS", {"zk": "lacking"})
    target = parse_target("zk://a:1")
    told = (
        r"target zk://a:1: zk:// needs no_such_library, which is not installed:"
        r" pip install 'libevrpc\[zk\]'$"
    )
    with pytest.raises(ConfigError, match=told):
        open_resolver(target, "x.Y", ClientSettings())
    with pytest.raises(ConfigError, match=told):
        open_registrar(target, ServerSettings())
    with pytest.raises(ConfigError, match=told):
        RpcClient("zk://a:1")  # not at the first call only
    with pytest.raises(ConfigError, match=told):
        RpcServer("127.0.0.1:0", registry="zk://a:1", advertise="b:2").start()
    sys.modules.pop("lacking", None)


def test_a_part_of_our_own_that_is_missing_is_our_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_ADAPTERS", {"zk": "no_such_adapter"})
    with pytest.raises(ModuleNotFoundError):
        open_resolver(parse_target("zk://a:1"), "x.Y", ClientSettings())
