"""What Prometheus reads at /metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
BATCHES = (1, 2, 4, 8, 16, 32, 64)
CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """One service's counters, in a registry of its own: two services in one process do not add up."""

    def __init__(self):
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter("sear_requests", "Requests answered", ["route", "status"], registry=registry)
        self.seconds = Histogram(
            "sear_request_seconds", "Seconds until the answer began", ["route"], buckets=SECONDS, registry=registry
        )
        self.batch_size = Histogram(
            "sear_batch_size", "Recommendations that were scored together", buckets=BATCHES, registry=registry
        )
        self.sessions = Gauge("sear_sessions", "Sessions held", registry=registry)
        self.items = Gauge("sear_items", "Items that can be recommended", registry=registry)
        self.generation = Gauge(
            "sear_model_generation", "1 for the first model, one more per reload", registry=registry
        )
        self.ready = Gauge("sear_ready", "1 when the model is warm", registry=registry)
        self.reloads = Counter("sear_reloads", "Newer models that were found", ["result"], registry=registry)
        for result in ("taken", "failed"):
            self.reloads.labels(result)

    def observe(self, route: str, status: int, seconds: float) -> None:
        """One request that was answered."""
        self.requests.labels(route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        return generate_latest(self._registry)
