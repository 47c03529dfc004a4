"""`libevrpc status`: what a center is and knows."""

from __future__ import annotations

import argparse
from typing import Any

from libevrpc.cli.arguments import add_common
from libevrpc.cli.cluster import ask_status
from libevrpc.cli.output import ExitStatus, print_json, print_table
from libevrpc.core.targets import parse_target
from libevrpc.errors import ConfigError
from libevrpc.gen import center_pb2

__all__ = ["add_arguments", "run"]

_ADVICE = (
    "counts for nothing, nor does this one there, until both have the same centers_list and"
    " list_generation; mend the wrong one and restart that center"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("center", help="host:port[,host:port]: the first one that answers is shown")
    add_common(parser)


def run(given: argparse.Namespace) -> ExitStatus:
    """Print one center's view of the cluster.

    Raises:
        EvrpcError: it failed.
    """
    text = given.center if "://" in given.center else f"center://{given.center}"
    target = parse_target(text)
    if target.scheme != "center":
        raise ConfigError(f"status of {given.center!r}: write host:port,host:port of centers")
    status = ask_status(target, given.timeout, given.token_file)
    if given.json:
        print_json(_plain(status))
    else:
        _show(status)
    return ExitStatus.OK


def _plain(status: center_pb2.StatusResponse) -> dict[str, Any]:
    centers = [
        {
            "id": each.id,
            "state": each.state,
            "leader": each.leader or None,
            "address": each.address,
            "last_heard_s": round(each.last_heard_s, 3) if each.last_heard_s >= 0.0 else None,
            "heard_by_leader": each.heard_by_leader,
            "trouble": each.trouble or None,
        }
        for each in status.centers
    ]
    servers = [
        {
            "address": each.address,
            "services": list(each.services),
            "weight": each.weight,
            "state": each.state,
            "age_s": round(each.age_s, 3),
            "load": round(each.load, 3),
        }
        for each in status.servers
    ]
    return {
        "id": status.id,
        "state": status.state,
        "leader": status.leader or None,
        "epoch": status.epoch,
        "version": status.version,
        "uptime_s": round(status.uptime_s, 3),
        "waiting": status.waiting or None,
        "centers": centers,
        "servers": servers,
    }


def _heard(center: center_pb2.CenterView, status: center_pb2.StatusResponse) -> str:
    """Return who hears `center`: a follower hears its leader, who hears the other followers."""
    if center.trouble:
        return center.trouble
    if center.id == status.id:
        return "this one"
    # A center of an earlier version does not tell whom its leader hears, not even itself.
    told = any(each.heard_by_leader for each in status.centers)
    if told and status.leader and status.leader not in (status.id, center.id):
        return "by the leader" if center.heard_by_leader else "not by the leader"
    return "never" if center.last_heard_s < 0.0 else f"{center.last_heard_s:.1f} s ago"


def _show(status: center_pb2.StatusResponse) -> None:
    leader = f"leader {status.leader}" if status.leader else "no leader"
    title = (
        f"center {status.id} {status.state}, {leader}, epoch {status.epoch}"
        f" version {status.version}, up {status.uptime_s:.0f} s"
    )
    if status.waiting:
        title += f"\n{status.waiting}"
    strange = ", ".join(str(each.id) for each in status.centers if each.trouble)
    if strange:
        title += f"\ncenter {strange}: {_ADVICE}"
    plain = _plain(status)
    heads = ("id", "state", "follows", "address", "heard")
    rows = [
        (
            each["id"],
            each["state"],
            each["leader"] or "-",
            each["address"],
            _heard(center, status),
        )
        for each, center in zip(plain["centers"], status.centers, strict=True)
    ]
    print_table(title, heads, rows)
    server_heads = ("address", "state", "load", "weight", "reported", "services")
    servers = [
        (
            each["address"],
            each["state"],
            f"{each['load']:.0%}",
            f"{each['weight']:g}",
            f"{each['age_s']:.1f} s ago",
            " ".join(each["services"]),
        )
        for each in plain["servers"]
    ]
    print_table(f"{len(servers)} servers", server_heads, servers)
