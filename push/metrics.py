"""What `/metrics` shows of pushing. Counted in the process whose worker pushes."""

from prometheus_client import Counter

pushes = Counter("holodrive_pushes_total", "Pushes to devices", ["channel", "outcome"])
