"""A process that registers one name and keeps it until it is killed.

python tools/compare/owner.py zookeeper|etcd HOSTS NAME TIMEOUT_S
python tools/compare/owner.py center HOSTS NAME STATE_DIR
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

KEEP_ALIVES = 3
"""How many keep-alives are sent per time to live, as etcd's own client does."""


def own_in_zookeeper(hosts: str, name: str, timeout_s: float) -> None:
    from compare.zookeeper_subject import FOLDER, VALUE, zookeeper_client

    client = zookeeper_client(hosts, timeout_s)
    client.start()
    client.create(f"{FOLDER}/{name}", VALUE, ephemeral=True, makepath=True)
    while True:
        time.sleep(60.0)


def own_in_etcd(hosts: str, name: str, timeout_s: float) -> None:
    from compare.etcd_subject import GRANT, PREFIX, PUT, VALUE
    from compare.etcd_wire import EtcdApi, message

    api = EtcdApi(hosts.partition(",")[0])
    lease = api.lease_grant(GRANT(TTL=int(timeout_s)))
    api.put(PUT(key=PREFIX + name.encode(), value=VALUE, lease=lease.ID))
    request = message("LeaseKeepAliveRequest")(ID=lease.ID)

    def beat() -> Iterator[Any]:
        while True:
            yield request
            time.sleep(lease.TTL / KEEP_ALIVES)

    for _ in api.keep_alive(beat()):
        pass


def own_in_centers(hosts: str, name: str, state_dir: str) -> None:
    from libevrpc import RpcServer

    class Registered:
        def ping(self) -> str:
            return "pong"

    server = RpcServer(name, registry=f"center://{hosts}", state_dir=state_dir, threads=1)
    server.add_object(Registered())
    server.run()


def main() -> None:
    kind, hosts, name, more = sys.argv[1:]
    if kind == "zookeeper":
        own_in_zookeeper(hosts, name, float(more))
    elif kind == "etcd":
        own_in_etcd(hosts, name, float(more))
    else:
        own_in_centers(hosts, name, more)


if __name__ == "__main__":
    main()
