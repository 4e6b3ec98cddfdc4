"""What `/metrics` shows of pushing. Counted in the process whose worker pushes."""

from prometheus_client import Counter, Gauge

pushes = Counter("holodrive_pushes_total", "Pushes to devices", ["channel", "outcome"])
lag = Gauge(
    "holodrive_push_lag_seconds",
    "How long ago the oldest push that waits fell due, or the worker last looked",
)
