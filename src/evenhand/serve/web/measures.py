"""What /metrics tells, in Prometheus' format: counts and times, no text, no id and no user."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Measures:
    """Of one server; several in one process do not meet."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter("evenhand_requests", "Answered requests.", ["door", "status"], registry=self._registry)
        self.seconds = Histogram("evenhand_request_seconds", "Time to an answer.", ["door"], buckets=SECONDS, registry=self._registry)
        self.batch = Histogram("evenhand_batch_items", "Responses scored together.", buckets=SIZES, registry=self._registry)
        self.tokens = Counter("evenhand_tokens", "Tokens of scored prompts and responses.", registry=self._registry)
        self.cut = Counter("evenhand_cut_items", "Responses longer than the model reads.", registry=self._registry)

    def watch(self, name: str, what: str, value: Callable[[], float]) -> None:
        """A value that is asked for whenever somebody looks."""
        Gauge(f"evenhand_{name}", what, registry=self._registry).set_function(value)

    def written(self) -> bytes:
        return generate_latest(self._registry)
