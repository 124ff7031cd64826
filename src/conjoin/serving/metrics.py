"""What Prometheus may read of a server: requests, refusals, queue, batch fill, tokens, latencies. No text, no key, no address."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics", "ModelMetrics"]

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """All of a server's, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry}
        one = ["model"]
        self.requests = Counter("conjoin_requests", "Answers by endpoint and status.", ["endpoint", "status"], **own)
        self.refusals = Counter("conjoin_refusals", "Refusals by the limit or mistake they name.", ["name"], **own)
        self.latency = Histogram(
            "conjoin_request_seconds",
            "From a request's arrival to the end of its answer.",
            ["endpoint"],
            buckets=SECONDS,
            **own,
        )
        self.first = Histogram(
            "conjoin_first_token_seconds", "From arrival to the first token.", one, buckets=SECONDS, **own
        )
        self.queued = Histogram(
            "conjoin_queue_seconds", "From a text's arrival until its work begins.", one, buckets=SECONDS, **own
        )
        self.steps = Histogram("conjoin_step_seconds", "One step of a batch.", one, buckets=SECONDS, **own)
        self.fill = Histogram("conjoin_batch_rows", "Hypotheses that a step took on.", one, buckets=ROWS, **own)
        self.waiting = Gauge("conjoin_waiting_texts", "Texts in the queue.", one, **own)
        self.running = Gauge("conjoin_running_texts", "Texts in the batch.", one, **own)
        self.rows = Gauge("conjoin_running_rows", "Hypotheses in the batch.", one, **own)
        self.tokens = Counter("conjoin_tokens", "Tokens read of sources and written.", ["model", "kind"], **own)
        self.cancelled = Counter("conjoin_cancelled_texts", "Texts whose client went away.", one, **own)

    def of(self, model: str) -> "ModelMetrics":
        """Those of one model."""
        return ModelMetrics(self, model)

    def text(self) -> bytes:
        """All of them in Prometheus' text form."""
        return generate_latest(self.registry)


class ModelMetrics:
    """What the scheduler of one model tells."""

    def __init__(self, metrics: Metrics, model: str) -> None:
        self.first, self.queued = metrics.first.labels(model), metrics.queued.labels(model)
        self.steps, self.fill = metrics.steps.labels(model), metrics.fill.labels(model)
        self.gauges = [gauge.labels(model) for gauge in (metrics.waiting, metrics.running, metrics.rows)]
        self.read, self.written = metrics.tokens.labels(model, "source"), metrics.tokens.labels(model, "new")
        self.cancelled = metrics.cancelled.labels(model)
        self.mean = 1.0  # seconds that a text took lately

    def batch(self, waiting: int, running: int, rows: int) -> None:
        """How many wait, how many run, and on how many rows."""
        for gauge, value in zip(self.gauges, (waiting, running, rows), strict=True):
            gauge.set(value)

    def stepped(self, seconds: float, rows: int) -> None:
        """A step was taken."""
        self.steps.observe(seconds)
        self.fill.observe(rows)

    def answered(self, source: int, new: int, seconds: float, queued: float) -> None:
        """A text was answered."""
        self.read.inc(source)
        self.written.inc(new)
        self.queued.observe(queued)
        self.mean += 0.1 * (seconds - queued - self.mean)
