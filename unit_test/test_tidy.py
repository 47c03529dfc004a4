"""House rules that no other tool checks: each failure names the place and what to do instead."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ("libevrpc", "center")
FOLDERS = (*SHIPPED, "samples", "tools", "unit_test")
GENERATED = re.compile(r"libevrpc/gen/|_pb2\.pyi?$")

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60

BANNED_CALLS = {
    "time.sleep": "arm a timer, wait on an Event with a deadline, or advance the fake clock",
    "time.time": "libevrpc.clock.monotonic_s() or boottime_s(): the wall clock is never an input",
    "datetime.datetime.now": "libevrpc.clock: the wall clock is never an input",
    "socket.setdefaulttimeout": "a deadline of the one socket: this changes every other user's",
    "os.system": "subprocess.run with a list of words",
}
BANNED_CALLS_ALLOWED_IN = ("tools/",)
"""Developers' programs run beside the real clock."""

BANNED_MODULES = {
    "pickle": "msgpack or protobuf: unpickling runs what a peer sends",
    "marshal": "msgpack or protobuf",
    "imp": "importlib",
}

STRUCT_USERS: dict[str, str] = {
    "libevrpc/core/": "wire formats live here",
    "center/core/": "wire formats live here",
    "center/store.py": "the record's envelope on disk",
}

LOCK_BUDGET: dict[str, str] = {
    "libevrpc/loop/eventloop.py": "the inbox: post() comes from any thread",
    "libevrpc/loop/transport.py": "the send lock: a worker may write its own reply",
    "libevrpc/channel/background.py": "all clients share a loop: the first starts it",
    "libevrpc/channel/channel.py": "one dial at a time, whoever calls first",
    "libevrpc/channel/baton.py": "the reader baton, and a gate per follower",
    "libevrpc/channel/connection.py": "the step to a socket, and the end",
    "libevrpc/channel/stream.py": "what is written first must leave first",
    "libevrpc/channel/shortlived.py": "the gate of a waiting caller, and the end",
    "libevrpc/channel/dial.py": "bounds the names being resolved, which no thread of ours owns",
    "center/dials.py": "few of the dial threads may hold a connection for long",
    "libevrpc/client/aside.py": "threads that inflate replies share one queue",
    "libevrpc/client/broadcast.py": "replies of many servers come on any thread",
    "libevrpc/client/client.py": "routes are made by whichever caller comes first",
    "libevrpc/client/future.py": "the gate of a thread that waits for a result",
    "libevrpc/client/router.py": "callers share balancer and retry budget",
    "libevrpc/registry/zookeeper_link.py": "users share a session: the first opens it",
    "libevrpc/server/http/registry.py": "every loop of its server answers for the registry",
    "libevrpc/tinyrpc.py": "a program's list of servers changes while clients join it",
    "libevrpc/server/server.py": "services are added and removed one at a time, from any thread",
    "libevrpc/server/workers.py": "the queue that loops fill and workers empty, and workers' gates",
}
"""The files that may make a lock, and why ownership by one thread does not do."""

LOCKS = {"Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore"}

SHAPELESS = re.compile(r"(?i)(util|helper|manager|misc|common)s?(?=_|$|[A-Z])")
LEFT_OVERS = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
MACHINE_PATHS = re.compile(r"(?<![\w.:/])/(home|root|Users|work|srv|mnt)/\w")
HOSTS = re.compile(r"https?://([\w-]+(?:\.[\w-]+)*\.[a-z]{2,})\b")
KNOWN_HOSTS = re.compile(
    r"(.*\.)?(apache\.org|example\.(com|net|org))|keepachangelog\.com|semver\.org"
)
TEXT_SUFFIXES = {".py", ".pyi", ".md", ".ini", ".cfg", ".toml", ".proto", ".sh", ".txt", ".example"}
TEXT_NAMES = {"Makefile", "run"}

FOREIGN = {
    "google": "protobuf",
    "zmq": "pyzmq",
    "msgpack": "msgpack",
    "psutil": "psutil",
    "uhashring": "uhashring",
    "rich": "extra cli",
    "h11": "extra http",
    "prometheus_client": "extra http",
    "kazoo": "extra zk",
    "sqlalchemy": "extra sql",
    "google_crc32c": "extra crc",
}
"""What shipped code may import beside the standard library, and which requirement brings it."""

SAMPLE_IMPORTS = re.compile(r"(libevrpc(\.(aio|errors|mprpc|testing|tinyrpc))?|center\.embed)$")


def sources(*folders: str) -> list[Path]:
    """Return the hand-written Python files below the folders."""
    found = (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))
    return [path for path in found if not GENERATED.search(named(path))]


def texts() -> Iterator[Path]:
    """Yield every hand-written text file of the project."""
    for path in sorted(ROOT.iterdir()):
        if path.is_file():
            yield path
    for folder in (*FOLDERS, "config", "docs", ".ci"):
        yield from sorted(path for path in (ROOT / folder).rglob("*") if path.is_file())


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree_of(path)))


@cache
def imports_of(path: Path) -> tuple[tuple[int, str, str], ...]:
    """Return (line, module, local name or "") of each import, each imported name on its own."""
    found = []
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            found += [(node.lineno, each.name, each.asname or each.name) for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.lineno, node.module, ""))
            found += [
                (node.lineno, f"{node.module}.{each.name}", each.asname or each.name)
                for each in node.names
            ]
    return tuple(found)


@cache
def calls_of(path: Path) -> tuple[tuple[int, str], ...]:
    """Return (line, full dotted name) of each call by name, whatever the import calls it here."""
    full_names = {local: module for _, module, local in imports_of(path) if local}
    found = []
    for node in nodes_of(path):
        if isinstance(node, ast.Call) and (words := words_of(node.func)):
            words[0] = full_names.get(words[0], words[0])
            found.append((node.lineno, ".".join(words)))
    return tuple(found)


def words_of(node: ast.expr) -> list[str]:
    """Return the words of a dotted name; none if it is something else, as the result of a call."""
    words: list[str] = []
    while isinstance(node, ast.Attribute):
        words.append(node.attr)
        node = node.value
    return [node.id, *reversed(words)] if isinstance(node, ast.Name) else []


def require_none(faults: list[str]) -> None:
    assert not faults, "\n" + "\n".join(faults)


def test_no_banned_call() -> None:
    require_none(
        [
            f"{named(path)}:{line}: {call}: instead, {BANNED_CALLS[call]}"
            for path in sources(*FOLDERS)
            if not named(path).startswith(BANNED_CALLS_ALLOWED_IN)
            for line, call in calls_of(path)
            if call in BANNED_CALLS
        ]
    )


def test_no_banned_module() -> None:
    require_none(
        [
            f"{named(path)}:{line}: import {module}: instead, {BANNED_MODULES[module]}"
            for path in sources(*FOLDERS)
            for line, module, _ in imports_of(path)
            if module in BANNED_MODULES
        ]
    )


def test_files_stay_short() -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in sources(*FOLDERS)}
    require_none(
        [
            f"{named(path)}: {lines} lines, at most {FILE_LINES_MAX}: give a part of it a noun"
            for path, lines in lengths.items()
            if lines > FILE_LINES_MAX
        ]
    )


def test_functions_stay_short() -> None:
    require_none(
        [
            f"{named(path)}:{node.lineno}: {node.name}: {lines} lines, at most {FUNCTION_LINES_MAX}"
            for path in sources(*FOLDERS)
            for node in nodes_of(path)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES_MAX
        ]
    )


def test_names_are_nouns_of_the_domain() -> None:
    faults = []
    for path in sources(*SHIPPED):
        classes = [node.name for node in nodes_of(path) if isinstance(node, ast.ClassDef)]
        faults += [
            f"{named(path)}: {name}: say what it is, not that it helps"
            for name in (path.stem, *classes)
            if SHAPELESS.search(name)
        ]
    require_none(faults)


def test_errors_are_not_swallowed() -> None:
    faults = []
    for path in sources(*FOLDERS):
        for node in nodes_of(path):
            if not isinstance(node, ast.ExceptHandler):
                continue
            everything = node.type is None or ast.unparse(node.type) in {
                "Exception",
                "BaseException",
            }
            if everything and all(isinstance(each, ast.Pass) for each in node.body):
                faults.append(f"{named(path)}:{node.lineno}: log it, or catch what you expect")
    require_none(faults)


def test_bytes_are_packed_in_wire_modules_alone() -> None:
    require_none(
        [
            f"{named(path)}:{line}: struct: the wire formats are cut in {', '.join(STRUCT_USERS)}"
            for path in sources(*SHIPPED)
            if not named(path).startswith(tuple(STRUCT_USERS))
            for line, module, _ in imports_of(path)
            if module == "struct"
        ]
    )


def test_locks_stay_within_their_budget() -> None:
    require_none(
        [
            f"{named(path)}:{line}: {call}: let one thread own it and post to that thread, or give"
            " the reason in LOCK_BUDGET"
            for path in sources(*SHIPPED)
            if named(path) not in LOCK_BUDGET
            for line, call in calls_of(path)
            if call.startswith("threading.") and call.rpartition(".")[2] in LOCKS
        ]
    )


def test_the_lock_budget_is_used() -> None:
    made = {
        named(path)
        for path in sources(*SHIPPED)
        for _, call in calls_of(path)
        if call.startswith("threading.") and call.rpartition(".")[2] in LOCKS
    }
    require_none(
        [f"{name}: makes no lock: strike it from LOCK_BUDGET" for name in LOCK_BUDGET.keys() - made]
    )


def test_foreign_libraries_are_declared() -> None:
    allowed = {*sys.stdlib_module_names, *SHIPPED, *FOREIGN}
    require_none(
        [
            f"{named(path)}:{line}: {module} is no requirement of setup.cfg"
            for path in sources(*SHIPPED)
            for line, module, _ in imports_of(path)
            if module.partition(".")[0] not in allowed
        ]
    )


def test_samples_use_public_names() -> None:
    require_none(
        [
            f"{named(path)}:{node.lineno}: {module}: samples use what users may use"
            for path in sources("samples")
            for node in nodes_of(path)
            for module in modules_of(node)
            if module.partition(".")[0] in SHIPPED and not SAMPLE_IMPORTS.match(module)
        ]
    )


def modules_of(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [each.name for each in node.names] if isinstance(node, ast.Import) else []


def test_public_modules_say_what_is_public() -> None:
    require_none(
        [
            f"{named(path)}: no __all__"
            for path in sorted((ROOT / "libevrpc").glob("*.py"))
            if path.name != "__init__.py" and "\n__all__" not in path.read_text()
        ]
    )


@pytest.mark.parametrize(
    ("pattern", "remedy"),
    [
        (LEFT_OVERS, "finish it, or leave it out"),
        (MACHINE_PATHS, "a path of one machine: make it relative, or ask the environment"),
    ],
)
def test_no_text_has(pattern: re.Pattern[str], remedy: str) -> None:
    require_none(
        [
            f"{named(path)}:{number}: {found.group()!r}: {remedy}"
            for path, number, line in lines_of_texts()
            if (found := pattern.search(line))
        ]
    )


def test_links_lead_to_known_places() -> None:
    require_none(
        [
            f"{named(path)}:{number}: {host}: not one of KNOWN_HOSTS"
            for path, number, line in lines_of_texts()
            for host in HOSTS.findall(line)
            if not KNOWN_HOSTS.fullmatch(host)
        ]
    )


def lines_of_texts() -> Iterator[tuple[Path, int, str]]:
    for path in texts():
        if path.suffix in TEXT_SUFFIXES or path.name in TEXT_NAMES:
            lines = path.read_text(encoding="utf-8").splitlines()
            yield from ((path, number, line) for number, line in enumerate(lines, start=1))
