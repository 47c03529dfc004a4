"""Which address a server may tell others."""

from __future__ import annotations

import pytest

from libevrpc.core.targets import parse_target
from libevrpc.errors import ConfigError
from libevrpc.server.presence import advertised_address

NEAR = parse_target("center://localhost:8899,127.0.0.1:8900")
FAR = parse_target("center://localhost:8899,10.1.2.3:8899")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:9998",
        "127.8.8.8:9998",
        "[::1]:9998",
        "localhost:9998",
        "LocalHost.:9998",
        "localhost6:9998",
        "ip6-localhost:9998",
        "one.localhost:9998",
        "unix:///tmp/echo.sock",
    ],
)
def test_what_only_this_machine_can_dial_is_not_told_to_others(address: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot advertise .*: 10.1.2.3:8899 is on another"):
        advertised_address(address, FAR)
    advertised_address(address, NEAR)


@pytest.mark.parametrize("address", ["10.1.2.4:1", "[fd00::1]:1", "web:1", "localhost.example:1"])
def test_what_others_may_be_able_to_dial_is_told(address: str) -> None:
    assert advertised_address(address, FAR) == advertised_address(address, NEAR) == address


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1"])
def test_every_interface_is_no_address(address: str) -> None:
    with pytest.raises(ConfigError, match="it means every interface; set advertise"):
        advertised_address(address, NEAR)
