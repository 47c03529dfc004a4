"""From options, files and environment to a center that may start."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from center.centers_list import CentersList, default_path, read_centers_list
from center.runner import Runner
from libevrpc.errors import ConfigError
from libevrpc.settings import CenterSettings, load_settings

__all__ = ["Opening", "open_center"]


@dataclass(frozen=True, slots=True)
class Opening:
    """A center that was asked for, found to be in order. `warnings` are for its log."""

    id: int
    centers: CentersList
    settings: CenterSettings
    folder: Path
    new_cluster: bool

    @property
    def warnings(self) -> tuple[str, ...]:
        """What works but will surprise."""
        return tuple(self.centers.warnings())

    def runner(self, on_end: Callable[[], object] | None = None) -> Runner:
        """Make the center; see `Runner`.

        Raises:
            ConfigError: its folder is in use, foreign or cannot be written.
        """
        return Runner(
            self.id,
            self.centers,
            self.settings,
            self.folder,
            new_cluster=self.new_cluster,
            on_end=on_end,
        )


def open_center(
    center_id: int | None = None,
    centers_list: str | Path | None = None,
    *,
    config: str | Path | None = None,
    new_cluster: bool = False,
    settings: Mapping[str, object] | None = None,
) -> Opening:
    """Gather what a center needs and check it; nothing is opened yet.

    Args:
        center_id: own id; None: that of the one line with an address of this machine.
        centers_list: None: ./centers_list, then /tmp/centers_list.
        config: an ini file.
        new_cluster: vote at once although the disk is empty.
        settings: keys of `CenterSettings` that win over environment and file.

    Raises:
        ConfigError: something is wrong with arguments or files.
    """
    number: object = center_id  # a caller without a type checker may have a text
    if number is not None and type(number) is not int:
        raise ConfigError(f"the id of a center must be an int, not {number!r}")
    loaded = load_settings(CenterSettings, config=config, arguments=settings)
    centers = read_centers_list(default_path() if centers_list is None else centers_list)
    own_id = centers.local_id(is_local) if center_id is None else center_id
    centers.center(own_id)
    check_security(centers, loaded)
    return Opening(own_id, centers, loaded, data_folder(loaded, own_id), new_cluster)


def data_folder(settings: CenterSettings, center_id: int) -> Path:
    """Return where center `center_id` keeps its state: configured, or the user's state folder.

    It is absolute: a program with a center in it may change its working folder.

    Raises:
        ConfigError: neither is known.
    """
    if settings.data_dir:
        return Path(settings.data_dir).absolute()
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    if not os.path.isabs(state):  # expanduser leaves ~ where there is neither HOME nor a user
        raise ConfigError(
            f"no folder for the center's state: {state} is not absolute; set data_dir"
        )
    return Path(state) / "libevrpc" / f"center-{center_id}"


def check_security(centers: CentersList, settings: CenterSettings) -> None:
    """Refuse to speak beyond this machine without protection, unless that is what is wanted.

    Raises:
        ConfigError: a center is elsewhere, or would be reachable from there, there are not
            both keys and a token, and `security` is not none.
    """
    if settings.security == "none" or (centers.keyed and settings.token_file):
        return
    lacks = "and nothing protects the links: give the centers keys and set token_file"
    if centers.keyed:
        lacks = "and nothing protects the port for servers and clients: set token_file"
    elif settings.token_file:
        lacks = "and nothing protects the links between centers: give them keys"
    hint = f" {lacks}, or write security = none in [center] to allow that"
    for center in centers.centers:
        if not is_loopback(center.host):
            raise ConfigError(
                f"{centers.path}:{center.line}: {center.host} is beyond this machine,{hint}"
            )
    for key in ("peer_bind", "client_bind"):
        host = getattr(settings, key)
        if host and not is_loopback(host):
            raise ConfigError(f"{key} = {host}: reachable from other machines,{hint}")


def is_loopback(host: str) -> bool:
    """True for localhost and the loopback addresses."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_local(host: str) -> bool:
    """True if `host` is an address of this machine, or a name of one."""
    try:
        found = {each[4][0] for each in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (socket.gaierror, UnicodeError):  # UnicodeError: no name that DNS could have
        return False
    import psutil

    own = {
        address.address.partition("%")[0]
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
    }
    return not found.isdisjoint(own) or any(is_loopback(str(each)) for each in found)
