"""What `/metrics` shows. Counted here and nowhere else; names follow Prometheus' conventions."""

from collections.abc import Callable, Iterator

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector


class CountedElsewhere(Collector):
    """A counter whose value is read when somebody asks for it."""

    def __init__(self, name: str, text: str) -> None:
        self._name, self._text = name, text
        self.read: Callable[[], float] = lambda: 0
        REGISTRY.register(self)

    def collect(self) -> Iterator[CounterMetricFamily]:
        yield CounterMetricFamily(self._name, self._text, value=self.read())


class MeasuredElsewhere(CountedElsewhere):
    """The same for what goes up and down."""

    def collect(self) -> Iterator[GaugeMetricFamily]:  # type: ignore[override]
        yield GaugeMetricFamily(self._name, self._text, value=self.read())


sockets = Gauge("holodrive_sockets", "Open sockets", ["endpoint"])
outbox_bytes = Gauge("holodrive_outbox_bytes", "Bytes that wait for slow readers")
outbox_dropped = Counter(
    "holodrive_outbox_dropped_total", "Ephemeral frames that a slow reader did not get"
)
streams = Gauge("holodrive_streams", "Streams that have a local subscriber")
deliveries = Counter("holodrive_deliveries_total", "Events and ephemeral frames handed to sockets")
closes = Counter("holodrive_closes_total", "Sockets ended", ["endpoint", "code"])
frames_received = Counter("holodrive_frames_received_total", "Frames from clients", ["endpoint"])
errors_sent = Counter("holodrive_errors_total", "Error frames", ["code"])
resumes = Counter("holodrive_resumes_total", "Resumes", ["recovered"])
database_failures = Counter(
    "holodrive_database_failures_total",
    "Commands, requests and looks at the log that the database did not do",
)
database_wait = Histogram(
    "holodrive_database_wait_seconds",
    "What a command, a connect or a look at the log waited for a database thread",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
pool_wait = CountedElsewhere(
    "holodrive_database_pool_wait_seconds_total",
    "What threads waited, all together, for a connection of the pool to PostgreSQL",
)
requests_open = MeasuredElsewhere(
    "holodrive_requests_open", "HTTP requests that are not through, streams and long polls too"
)
requests_running = MeasuredElsewhere(
    "holodrive_requests_running", "Threads of HTTP requests that have a place"
)
requests_waiting = MeasuredElsewhere(
    "holodrive_requests_waiting", "HTTP requests whose thread waits for a place"
)
requests_refused = Counter(
    "holodrive_requests_refused_total", "HTTP requests refused for what they cost", ["status"]
)
hashes_waiting = MeasuredElsewhere(
    "holodrive_hashes_waiting", "Logins and other checks of a password that wait for their turn"
)
publish_failures = Counter("holodrive_publish_failures_total", "Wake-ups that Redis did not take")
repairs = Counter(
    "holodrive_repairs_total", "Events read from the log because no wake-up brought them"
)
lag = Histogram(
    "holodrive_publish_to_send_seconds",
    "From the publish after commit to the hand-over to local sockets",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
