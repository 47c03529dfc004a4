"""What a server serves: method entries, and the table that finds them without a lock."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import ModuleType
from typing import Any, cast

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError

from libevrpc.core.contents import ContentType
from libevrpc.core.protobufs import message_class
from libevrpc.core.wording import with_article
from libevrpc.errors import Errno, RpcError, UsageError
from libevrpc.inifile import nearest
from libevrpc.server.typed import ObjectShape, decoder_of, shape_of

__all__ = [
    "Handling",
    "MethodEntry",
    "MethodTable",
    "inline",
    "object_entries",
    "service_entries",
    "shown_signature",
]

_INLINE_MARK = "__evrpc_inline__"
FAST_HANDLER_S = 100e-6
"""A handler that usually takes less than this shares its worker with the next call."""
_EWMA_SHARE = 1 / 16
_NAMED_MAX = 20
"""Methods, and services, named to whoever asked for one that there is not."""
_CALL_WORDS = ("timeout_s", "controller", "key", "idempotent", "content_type", "result", "mode")
"""Arguments of a caller's `call`, beside those of the method; see docs/guide.md."""


class Handling(Enum):
    """What a handler is called with."""

    REQUEST = "request"
    REQUEST_AND_CONTROLLER = "request and controller"
    CALL = "call"  # our own internal service: the whole call, session included


def inline(function: Callable[..., Any]) -> Callable[..., Any]:
    """Declare a handler inline: it runs on the loop thread and must not block.

    Inline saves two thread switches a call. Only for handlers that finish within a
    fraction of a millisecond: while one runs, every connection of its loop waits.
    """
    setattr(function, _INLINE_MARK, True)
    return function


class MethodEntry:
    """One method as it is called. Immutable but for its figures.

    Attributes:
        service, method: full service name and method name as they travel.
        inline: run on the loop thread.
        decode: request bytes and content type to the handler's arguments; raises RpcError.
        encode: the handler's result and content type to reply bytes; raises RpcError.
        handler: called with what `handling` says.
        shape: what a plain object's method takes and gives; None for protobuf services.
        mean_s: running mean of how long the handler takes; a guess for scheduling only,
            written by many threads without a lock, which can lose a sample and nothing else.
        calls: how often it was called; added to by every loop without a lock, as `mean_s` is.
        warn_again_s: not before this is an inline method that blocks named again.
    """

    __slots__ = (
        "calls",
        "decode",
        "encode",
        "handler",
        "handling",
        "inline",
        "mean_s",
        "method",
        "service",
        "shape",
        "warn_again_s",
    )

    def __init__(
        self,
        service: str,
        method: str,
        handler: Callable[..., Any],
        *,
        handling: Handling,
        inline: bool,
        decode: Callable[[bytes, int], Any],
        encode: Callable[[Any, int], bytes],
        shape: ObjectShape | None = None,
    ) -> None:
        self.service = service
        self.method = method
        self.handler = handler
        self.handling = handling
        self.inline = inline
        self.decode = decode
        self.encode = encode
        self.shape = shape
        self.calls = 0
        self.warn_again_s = 0.0
        self.mean_s = 1.0  # until measured, every handler counts as slow

    def measured(self, seconds: float) -> None:
        """Note how long one run took. Any thread."""
        self.mean_s += (
            (seconds - self.mean_s) * _EWMA_SHARE if self.mean_s < 1.0 else (seconds - self.mean_s)
        )

    @property
    def internal(self) -> bool:
        """True for our own private service, which is served to the very end."""
        return self.handling is Handling.CALL

    @property
    def fast(self) -> bool:
        """True if a run is so short that waking another thread would cost more."""
        return self.mean_s < FAST_HANDLER_S


@dataclass(frozen=True, slots=True)
class Missing:
    """Why no entry was found."""

    errno: int
    text: str
    service_known: bool = False


class MethodTable:
    """All methods of a server. Immutable: adding a service makes a new table.

    Loops read the current table without a lock.
    """

    __slots__ = ("_by_name", "_services", "_short")

    def __init__(self, entries: Iterable[MethodEntry] = ()) -> None:
        self._by_name = {(entry.service, entry.method): entry for entry in entries}
        self._services: dict[str, list[str]] = {}
        for service, method in self._by_name:
            self._services.setdefault(service, []).append(method)
        short: dict[str, str | None] = {}
        for service in self._services:
            name = service.rpartition(".")[2]
            short[name] = None if name in short else service  # ambiguous short names find nobody
        self._short = short

    def get(self, service: str, method: str) -> MethodEntry | None:
        """Return the entry of an exact full name, None if there is none."""
        return self._by_name.get((service, method))

    def find(self, service: str, method: str) -> MethodEntry | Missing:
        """Return the entry by full service name, else by a unique short one.

        As brpc answers: an unknown short name is 1001, an unknown full name or method 1002.
        """
        entry = self._by_name.get((service, method))
        if entry is not None:
            return entry
        full = service
        if service not in self._services:
            resolved = self._short.get(service)
            if resolved is None:
                errno = Errno.NO_METHOD if "." in service else Errno.NO_SERVICE
                return Missing(errno, f"no service {service!r} here; services: {self._named()}")
            full = resolved
        entry = self._by_name.get((full, method))
        if entry is None:
            known = ", ".join(self._services[full][:_NAMED_MAX])
            text = f"service {full!r} has no method {method!r}; it has {known}"
            return Missing(Errno.NO_METHOD, text, service_known=True)
        return entry

    def _named(self) -> str:
        """Return the services for a person, as many as fit into a line."""
        names = sorted(
            service
            for service, methods in self._services.items()
            if not self._by_name[service, methods[0]].internal
        )
        more = len(names) - _NAMED_MAX
        told = ", ".join(names[:_NAMED_MAX]) or "none"
        return f"{told} and {more} more" if more > 0 else told

    def with_entries(self, entries: Iterable[MethodEntry]) -> MethodTable:
        """Return a table that has `entries` too.

        Raises:
            UsageError: one of their services is served already.
        """
        added = list(entries)
        for entry in added:
            if entry.service in self._services:
                raise UsageError(f"service {entry.service!r} is served already")
        return MethodTable([*self._by_name.values(), *added])

    def without(self, service: str) -> MethodTable:
        """Return a table that lacks `service`.

        Raises:
            UsageError: it is not served.
        """
        if service not in self._services:
            known = ", ".join(self._services) or "none"
            raise UsageError(f"service {service!r} is not served; services: {known}")
        return MethodTable(e for e in self._by_name.values() if e.service != service)


def service_entries(
    descriptor: ServiceDescriptor,
    implementation: object,
    *,
    inline: bool | Iterable[str] = False,
) -> list[MethodEntry]:
    """Make the entries of a protobuf service.

    Args:
        descriptor: the service, from a generated module or a descriptor pool.
        implementation: an object with a method, or a mapping with a function, for each
            method of the service, named as in the .proto or in snake_case.
        inline: True for all methods, or the names of those that run on the loop thread.

    Raises:
        UsageError: a method is missing, streaming, or does not take (request) or
            (request, controller), or `inline` names one that there is not.
    """
    names = _inline_names(inline, [m.name for m in descriptor.methods], descriptor.full_name)
    entries = []
    for method in descriptor.methods:
        handler = _handler_of(descriptor, method, implementation)
        entries.append(
            MethodEntry(
                descriptor.full_name,
                method.name,
                handler,
                handling=_handling_of(handler, f"{descriptor.full_name}.{method.name}"),
                inline=method.name in names or _is_inline(handler),
                decode=_protobuf_decoder(method),
                encode=_protobuf_encoder(method),
            )
        )
    return entries


def object_entries(
    target: object, name: str, *, inline: bool | Iterable[str] = False
) -> list[MethodEntry]:
    """Make the entries of a plain object: its public methods under the service `name`.

    A method that has a parameter called `controller` gets the controller there. One whose only
    other parameter is a dataclass gets one, made of a map or of keywords.

    Raises:
        UsageError: the object has no public method, or one that hides its parameters or whose
            only one has an annotation that cannot be read, the name is empty, or `inline` names
            a method that there is not.
    """
    if not name:
        raise UsageError("a plain object needs a service name, such as name='Foo'")
    from libevrpc.core.objects import encode_value

    functions = _public_methods(target)
    names = _inline_names(inline, functions, name)
    entries = []
    for attribute, function in functions.items():
        handler = _object_handler(function, f"{name}.{attribute}")
        try:
            shape = shape_of(function)
        except UsageError as exc:
            raise UsageError(f"{name}.{attribute}: {exc}") from None
        entries.append(
            MethodEntry(
                name,
                attribute,
                handler,
                handling=Handling.REQUEST_AND_CONTROLLER,
                inline=attribute in names or _is_inline(function),
                decode=decoder_of(shape),
                encode=encode_value,
                shape=shape,
            )
        )
    return entries


def shown_signature(function: Callable[..., Any]) -> str:
    """Return the signature as a caller sees it: no controller, annotations without quotes."""
    try:
        signature = inspect.signature(function, eval_str=True)
    except (NameError, AttributeError, TypeError, SyntaxError):  # a type only a checker imports
        signature = inspect.signature(function)
    parameters = [p for p in signature.parameters.values() if p.name != "controller"]
    return str(signature.replace(parameters=parameters))


def _inline_names(inline: object, methods: Iterable[str], service: str) -> frozenset[str]:
    """Return which of `methods` shall run on the loop thread."""
    known = frozenset(methods)
    if isinstance(inline, bool):
        return known if inline else frozenset()
    if isinstance(inline, str) or not isinstance(inline, Iterable):
        raise UsageError(
            f"inline = {inline!r}: write True, or a list of methods of {service}, such as"
            f" inline=[{min(known)!r}]"
        )
    names = frozenset(inline)
    for name in names - known:
        raise UsageError(f"{service} has no method {name!r} to inline{nearest(str(name), known)}")
    return names


def _public_methods(target: object) -> dict[str, Callable[..., Any]]:
    """Return what can be called of a plain object, by name.

    Raises:
        UsageError: it is data, such as a dict, or there is nothing public to call.
    """
    kind = type(target)
    if kind.__module__ == "builtins" and not isinstance(target, type | ModuleType):
        raise UsageError(
            f"{with_article(kind.__name__)} has no methods of yours: serve an object of a class"
        )
    functions = {}
    for name in sorted(dir(target)):
        if name.startswith("_") or isinstance(inspect.getattr_static(target, name), property):
            continue
        function = getattr(target, name)
        if callable(function) and not isinstance(function, type):
            if isinstance(target, type) and inspect.isfunction(
                inspect.getattr_static(target, name)
            ):
                kind_name = target.__name__
                raise UsageError(f"{kind_name} is a class: serve an object of it, {kind_name}()")
            functions[name] = function
    if not functions:
        raise UsageError(f"{kind.__name__} object has no public method to serve")
    return functions


def _object_handler(function: Callable[..., Any], label: str) -> Callable[..., Any]:
    """Bind decoded arguments; arguments that do not fit are the caller's fault, not ours."""
    _refuse_coroutines(function, label)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        raise UsageError(
            f"{label} does not tell its parameters: write a method that calls it"
        ) from None
    shown = shown_signature(function)
    wants_controller = "controller" in signature.parameters

    def handler(arguments: tuple[list[Any], dict[str, Any]], controller: object) -> Any:
        positional, keywords = arguments
        if wants_controller:
            keywords = {**keywords, "controller": controller}
        try:
            signature.bind(*positional, **keywords)
        except TypeError as exc:
            hint = _call_word(word for word in keywords if word not in signature.parameters)
            text = f"arguments do not fit {function.__name__}{shown}: {exc}{hint}"
            raise RpcError.from_errno(Errno.BAD_REQUEST, text) from None
        return function(*positional, **keywords)

    return handler


def _call_word(strangers: Iterable[str]) -> str:
    """Return a hint where a caller's own argument was mistyped, and so taken for the method's."""
    import difflib  # for mistakes alone

    for word in strangers:
        close = difflib.get_close_matches(word[:64], _CALL_WORDS, n=1, cutoff=0.75)
        if close:
            return f"; a caller's own argument is {close[0]}"
    return ""


def _refuse_coroutines(function: Callable[..., Any], label: str) -> None:
    plain = inspect.unwrap(function)
    if inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(plain):
        raise UsageError(
            f"{label} is async: write a plain method, or one that takes controller.defer() and"
            " answers from your event loop"
        )
    if inspect.isgeneratorfunction(plain):
        raise UsageError(f"{label} is a generator: return a list")


def _handler_of(
    descriptor: ServiceDescriptor, method: MethodDescriptor, implementation: object
) -> Callable[..., Any]:
    if method.client_streaming or method.server_streaming:
        raise UsageError(f"{descriptor.full_name}.{method.name} streams, which is not supported")
    # snake_case first: a class made by service_base has every proto name already
    if isinstance(implementation, type):
        kind = implementation.__name__
        raise UsageError(f"{kind} is a class: serve an object of it, {kind}()")
    names = (snake_case(method.name), method.name)
    for name in names:
        if isinstance(implementation, Mapping):
            handler = implementation.get(name)
        else:
            handler = getattr(implementation, name, None)
        if callable(handler):
            return cast(Callable[..., Any], handler)
    raise UsageError(
        f"{descriptor.full_name}: no handler for {method.name};"
        f" write a method {names[1]} or {names[0]}"
    )


def snake_case(name: str) -> str:
    """Spell a proto method name in Python's way: GetFriendsList is get_friends_list."""
    spelled = []
    for position, letter in enumerate(name):
        if letter.isupper() and position and not name[position - 1].isupper():
            spelled.append("_")
        spelled.append(letter.lower())
    return "".join(spelled)


def _handling_of(handler: Callable[..., Any], label: str) -> Handling:
    _refuse_coroutines(handler, label)
    try:
        parameters = inspect.signature(handler).parameters.values()
    except (TypeError, ValueError):  # a builtin that hides its signature
        return Handling.REQUEST
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in positional if p.default is p.empty]
    open_ended = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if len(required) > 2 or (not positional and not open_ended):
        raise UsageError(f"{label}: a handler takes (request) or (request, controller)")
    if len(required) == 2 or any(p.name == "controller" for p in positional[1:2]):
        return Handling.REQUEST_AND_CONTROLLER
    return Handling.REQUEST


def _is_inline(handler: Callable[..., Any]) -> bool:
    return bool(getattr(handler, _INLINE_MARK, False))


def _protobuf_decoder(method: MethodDescriptor) -> Callable[[bytes, int], Any]:
    parse = message_class(method.input_type).FromString
    name = method.input_type.full_name

    def decode(payload: bytes, content_type: int) -> Any:
        try:
            if content_type == ContentType.PROTOBUF:
                return parse(payload)
            return _text_decoder(method, payload, content_type)
        except DecodeError as exc:
            text = f"request is not {with_article(name)}: {exc}"
            raise RpcError.from_errno(Errno.BAD_REQUEST, text) from None

    return decode


def _text_decoder(method: MethodDescriptor, payload: bytes, content_type: int) -> Any:
    from libevrpc.core.protobufs import parse_text

    return parse_text(message_class(method.input_type), payload, content_type)


def _protobuf_encoder(method: MethodDescriptor) -> Callable[[Any, int], bytes]:
    result_class = message_class(method.output_type)
    name = method.output_type.full_name

    def encode(result: Any, content_type: int) -> bytes:
        if result.__class__ is not result_class:
            text = f"handler returned {type(result).__name__}, not {with_article(name)}"
            raise RpcError.from_errno(Errno.BAD_RESPONSE, text)
        if content_type == ContentType.PROTOBUF:
            return result.SerializeToString()
        from libevrpc.core.protobufs import format_text

        return format_text(result, content_type)

    return encode
