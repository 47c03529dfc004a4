"""`libevrpc status`: what a center is and knows."""

from __future__ import annotations

import argparse
from typing import Any

from libevrpc.cli.output import OK, print_json, table
from libevrpc.client.client import RpcClient
from libevrpc.core.targets import parse_target
from libevrpc.errors import RpcError
from libevrpc.gen import center_pb2

__all__ = ["status", "status_value"]


def status(arguments: argparse.Namespace) -> int:
    """Print the status of the first center that answers."""
    target = arguments.target
    if "://" not in target:
        target = f"center://{target}"
    centers = parse_target(target).endpoints
    for position, center in enumerate(centers):
        try:
            value = status_value(center.address, arguments.timeout)
            break
        except RpcError:
            if position == len(centers) - 1:
                raise
    if arguments.json:
        print_json(value)
    else:
        show(value)
    return OK


def status_value(address: str, timeout_s: float) -> dict[str, Any]:
    """Ask one center.

    Raises:
        RpcError: it does not answer, or is no center.
    """
    service = center_pb2.DESCRIPTOR.services_by_name["Center"]
    with RpcClient(address, timeout_s=timeout_s) as client:
        told = client.stub(service).Status(center_pb2.StatusRequest(), idempotent=True)
    return {
        "id": told.id,
        "state": told.state,
        "leader": told.leader or None,
        "epoch": told.epoch,
        "version": told.version,
        "uptime_s": round(told.uptime_s, 3),
        "cluster_id": told.cluster_id,
        "centers": [
            {
                "id": each.id,
                "state": each.state,
                "leader": each.leader or None,
                "address": each.address,
                "last_heard_s": round(each.last_heard_s, 3) if each.last_heard_s >= 0 else None,
            }
            for each in told.centers
        ],
        "servers": [
            {
                "address": each.address,
                "services": list(each.services),
                "weight": round(each.weight, 3),
                "state": each.state,
                "age_s": round(each.age_s, 3),
                "load": round(each.load, 3),
            }
            for each in told.servers
        ],
    }


def show(value: dict[str, Any]) -> None:
    """Print a status for a person."""
    leader = value["leader"] or "none"
    print(
        f"center {value['id']} {value['state']}  leader {leader}  epoch {value['epoch']}"
        f"  version {value['version']}  up {value['uptime_s']:.0f} s\n"
    )
    table(
        ["CENTER", "STATE", "FOLLOWS", "ADDRESS", "HEARD"],
        [
            [
                str(each["id"]),
                each["state"],
                str(each["leader"] or "-"),
                each["address"],
                "never" if each["last_heard_s"] is None else f"{each['last_heard_s']:.1f} s ago",
            ]
            for each in value["centers"]
        ],
    )
    print()
    table(
        ["SERVER", "STATE", "WEIGHT", "LOAD", "AGE", "SERVICES"],
        [
            [
                each["address"],
                each["state"],
                f"{each['weight']:g}",
                f"{each['load']:.0%}",
                f"{each['age_s']:.1f} s",
                " ".join(each["services"]),
            ]
            for each in value["servers"]
        ],
    )
