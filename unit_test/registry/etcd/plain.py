"""Plain HTTP questions to etcd's gateway: what tests compare our client with."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Mapping
from typing import Any

ASK_S = 10.0


def ask(address: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Send a question to one member and return its answer.

    Raises:
        AssertionError: the member says no.
    """
    connection = http.client.HTTPConnection(address, timeout=ASK_S)
    try:
        connection.request("POST", path, json.dumps(body))
        response = connection.getresponse()
        text = response.read().decode()
    finally:
        connection.close()
    assert response.status == 200, text
    answer: dict[str, Any] = json.loads(text)
    return answer


def spelled(text: str) -> str:
    """Spell a key or value for the gateway."""
    return base64.b64encode(text.encode()).decode()


def read(address: str, prefix: str) -> dict[str, tuple[str, int]]:
    """Return what stands below a prefix: key -> (value, lease)."""
    end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
    question = {"key": spelled(prefix), "range_end": spelled(end)}
    keys = ask(address, "/v3/kv/range", question).get("kvs", [])
    return {
        base64.b64decode(each["key"]).decode(): (
            base64.b64decode(each.get("value", "")).decode(),
            int(each.get("lease", 0)),
        )
        for each in keys
    }


def put(address: str, key: str, value: str, lease: int = 0) -> int:
    """Write a key; return the store's revision after it."""
    body = {"key": spelled(key), "value": spelled(value), "lease": str(lease)}
    return int(ask(address, "/v3/kv/put", body)["header"]["revision"])


def delete(address: str, key: str) -> None:
    """Delete a key."""
    ask(address, "/v3/kv/deleterange", {"key": spelled(key)})


def grant(address: str, ttl_s: int) -> int:
    """Make a lease."""
    return int(ask(address, "/v3/lease/grant", {"TTL": str(ttl_s)})["ID"])


def revoke(address: str, lease: int) -> None:
    """End a lease and its keys."""
    ask(address, "/v3/lease/revoke", {"ID": str(lease)})


def compact(address: str, revision: int) -> None:
    """Let the store forget what was before `revision`."""
    ask(address, "/v3/kv/compaction", {"revision": str(revision)})
