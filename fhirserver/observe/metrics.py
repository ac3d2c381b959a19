"""Prometheus metrics: few names, bounded labels, one view over all worker processes.

With several workers each writes to files in the folder PROMETHEUS_MULTIPROC_DIR (set before this module is
imported), and whichever is asked adds them up.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.process_collector import ProcessCollector

FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
LABELS_MAX: Final = 400
"""Distinct values of one label; what comes later counts as `other`, so that no client can fill the memory."""

_BUCKETS_S: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
)  # fmt: skip
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

disable_created_metrics()
REGISTRY: Final = CollectorRegistry()
_requests = Counter("http_requests", "HTTP requests answered.", ["method", "status"], registry=REGISTRY)
_duration = Histogram(
    "http_request_duration_seconds",
    "Time from the first byte of the request to the last of the response.",
    ["interaction"],
    buckets=_BUCKETS_S,
    registry=REGISTRY,
)
_operations = Counter(
    "fhir_operations",
    "FHIR interactions by resource type.",
    ["type", "interaction", "status"],
    registry=REGISTRY,
)
_pool = {
    name: Gauge(f"db_pool_{name}", text, registry=REGISTRY, multiprocess_mode="livesum")
    for name, text in {
        "size": "Open database connections.",
        "idle": "Open database connections that nobody uses.",
        "max": "Most database connections that may be open.",
        "waiting": "Requests that wait for a database connection.",
    }.items()
}
_build = Gauge(
    "fhirserver_build_info",
    "Always 1; the labels say what runs.",
    ["version", "python"],
    registry=REGISTRY,
    multiprocess_mode="max",
)
ProcessCollector(registry=REGISTRY)


class _Bounded:
    """Lets the first LABELS_MAX distinct values of a label through."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def __call__(self, value: str) -> str:
        if value in self._seen:
            return value
        if len(self._seen) >= LABELS_MAX:
            return "other"
        self._seen.add(value)
        return value


_types, _interactions = _Bounded(), _Bounded()


@lru_cache(maxsize=4096)
def _counted(method: str, status: int) -> Counter:
    return _requests.labels(method if method in _METHODS else "OTHER", str(status))


@lru_cache(maxsize=4096)
def _operated(fhir_type: str, interaction: str, status: int) -> Counter:
    return _operations.labels(_types(fhir_type), _interactions(interaction), str(status))


@lru_cache(maxsize=1024)
def _timed(interaction: str) -> Callable[[float], None]:
    return _duration.labels(_interactions(interaction)).observe


def request_done(
    method: str, status: int, duration_s: float, fhir_type: str = "", interaction: str = ""
) -> None:
    """Count one answered request; `interaction` is empty outside FHIR, `fhir_type` for the whole system."""
    _counted(method, status).inc()
    _timed(interaction)(duration_s)
    if interaction:
        _operated(fhir_type, interaction, status).inc()


def pool_state(*, size: int, idle: int, size_max: int, waiting: int = 0) -> None:
    """Publish the state of this process's database connections."""
    _pool["size"].set(size)
    _pool["idle"].set(idle)
    _pool["max"].set(size_max)
    _pool["waiting"].set(waiting)


def build_info(version: str) -> None:
    """Publish the version that runs."""
    _build.labels(version, platform.python_version()).set(1)


def render() -> tuple[bytes, str]:
    """All metrics in the text format of Prometheus, and its content type."""
    if FOLDER not in os.environ:
        return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
    everyone = CollectorRegistry()
    MultiProcessCollector(everyone)
    return generate_latest(everyone), CONTENT_TYPE_LATEST


def worker_gone(pid: int) -> None:
    """Forget the gauges of a worker process that ended; counters keep counting."""
    if FOLDER in os.environ:
        mark_process_dead(pid)
