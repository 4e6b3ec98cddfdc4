"""OpenTelemetry, if REALTIME_TRACING is on: the way of an event from the save to the last socket,
and what connects and commands take.

    command -> append -> commit -> publish -> deliver (one for each process with subscribers)

Spans name streams, ids, types, counts and error codes: never a text, a token or an exception's
message. While it is off OpenTelemetry need not be installed, and no message carries a context.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, copy_context
from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span, Tracer

    # What a span may come from: one of this process, or the context that a message carried.
    Cause = Span | Mapping[str, str]

_tracer: "Tracer | None" = None
_nothing: AbstractContextManager[None] = nullcontext()
_others: "ContextVar[tuple[Span, ...]]" = ContextVar("others", default=())


def start() -> None:
    """Trace from now on. Without a provider of the project's own the SDK is set up as its standard
    variables say (OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_ENDPOINT ...). Raises
    ImproperlyConfigured.
    """
    global _tracer
    try:
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ImproperlyConfigured(
            "REALTIME_TRACING is on: pip install -r requirements-otel.txt"
        ) from None
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        os.environ.setdefault("OTEL_SERVICE_NAME", "holodrive")
        provider = TracerProvider()
        name = os.environ.get("OTEL_TRACES_EXPORTER", "otlp")
        if name != "none":
            provider.add_span_processor(BatchSpanProcessor(_exporter(name)))
        trace.set_tracer_provider(provider)
    _tracer = trace.get_tracer("holodrive.realtime")


def _exporter(name: str) -> Any:
    group = "opentelemetry_traces_exporter"
    for asked in (name, f"{name}_proto_http"):
        for entry in entry_points(group=group, name=asked):
            return entry.load()()
    known = ", ".join(sorted(entry_points(group=group).names))
    raise ImproperlyConfigured(f"OTEL_TRACES_EXPORTER={name!r}: one of {known} is wanted")


def span(name: str, **attributes: Any) -> "AbstractContextManager[Span | None]":
    """What happens in here, as a part of the span around it."""
    return _nothing if _tracer is None else _span(_tracer, name, None, attributes)


def caused_span(
    name: str, cause: "Cause", **attributes: Any
) -> "AbstractContextManager[Span | None]":
    """The same, for what comes from elsewhere."""
    return _nothing if _tracer is None else _span(_tracer, name, cause, attributes)


@contextmanager
def _span(
    tracer: "Tracer", name: str, cause: "Cause | None", attributes: dict[str, Any]
) -> "Iterator[Span]":
    from opentelemetry.trace import Link, StatusCode

    others = [other.get_span_context() for other in _others.get()]
    links = [Link(other) for other in others if other.is_valid]
    with tracer.start_as_current_span(
        name,
        _context(cause),
        attributes=_named(attributes),
        links=links,
        # A database's message may quote what it was given.
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield current
        except Exception as problem:
            current.set_status(StatusCode.ERROR, type(problem).__name__)
            raise


def begin(name: str, cause: "Cause | None" = None, **attributes: Any) -> "Span | None":
    """A span that `end` ends, elsewhere. None while nothing is traced, or this is not sampled."""
    if _tracer is None:
        return None
    begun = _tracer.start_span(name, _context(cause), attributes=_named(attributes))
    return begun if begun.is_recording() else None


def end(begun: "Span | None", problem: Exception | None = None) -> None:
    if begun is None:
        return
    if problem is not None:
        from opentelemetry.trace import StatusCode

        begun.set_status(StatusCode.ERROR, type(problem).__name__)
    begun.end()


def note(**attributes: Any) -> None:
    """Add to the span that this happens in."""
    if _tracer is not None:
        from opentelemetry import trace

        current = trace.get_current_span()
        if current.is_recording():  # a timer may run behind the end of the span that it was set in
            current.set_attributes(_named(attributes))


def carried(begun: "Span") -> dict[str, str]:
    """The context in W3C's form, for another process."""
    from opentelemetry.trace import set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, set_span_in_context(begun))
    return carrier


def in_thread(call: "Callable[[], Any]") -> "Callable[[], Any]":
    """The same call, which knows in another thread what span it is a part of."""
    return call if _tracer is None else partial(copy_context().run, call)


def current() -> "Span | None":
    """What happens now, for `together`."""
    if _tracer is None:
        return None
    from opentelemetry import trace

    return trace.get_current_span()


@contextmanager
def together(causes: "Iterable[Span | None]") -> Iterator[None]:
    """What is done here at once for several: a part of the first one's trace, linked to the
    others.
    """
    spans = [cause for cause in causes if cause is not None]
    if _tracer is None or not spans:
        yield
        return
    from opentelemetry import trace

    others = _others.set(tuple(spans[1:]))
    try:
        with trace.use_span(spans[0], record_exception=False, set_status_on_exception=False):
            yield
    finally:
        _others.reset(others)


def _context(cause: "Cause | None") -> Any:
    if cause is None:
        return None  # the current one
    if isinstance(cause, Mapping):
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        return TraceContextTextMapPropagator().extract(cause)
    from opentelemetry.trace import set_span_in_context

    return set_span_in_context(cause)


def _named(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {f"realtime.{name}": value for name, value in attributes.items()}
