"""Metrics: names, bounded labels, and one view over several processes."""

import os
import subprocess
import sys
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from fhirserver.observe import metrics


def value(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


def test_requests_and_interactions_are_counted() -> None:
    before = value("http_requests_total", method="GET", status="200")
    timed = value("http_request_duration_seconds_count", interaction="read")
    metrics.request_done("GET", 200, 0.003, "Patient", "read")
    metrics.request_done("GET", 200, 0.003)
    assert value("http_requests_total", method="GET", status="200") == before + 2
    assert value("http_request_duration_seconds_count", interaction="read") == timed + 1
    assert value("fhir_operations_total", type="Patient", interaction="read", status="200") >= 1


def test_no_client_can_make_labels_without_end() -> None:
    def lines(name: str) -> int:
        return sum(line.startswith(name) for line in metrics.render()[0].decode().splitlines())

    requests, operations = lines("http_requests_total"), lines("fhir_operations_total")
    for number in range(metrics.LABELS_MAX * 3):
        metrics.request_done(f"M{number}", 200, 0.1, f"Type{number}", f"op{number}")
    assert lines("http_requests_total") - requests < 20
    assert lines("fhir_operations_total") - operations < metrics.LABELS_MAX * 2 + 50
    assert value("http_requests_total", method="OTHER", status="200") >= metrics.LABELS_MAX * 3


def test_render_is_the_text_format() -> None:
    metrics.build_info("1.2.3")
    metrics.pool_state(size=3, idle=1, size_max=20, waiting=2)
    text, content_type = metrics.render()
    assert content_type.startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(text.decode())}
    assert "1.2.3" in [sample.labels["version"] for sample in families["fhirserver_build_info"].samples]
    pool = {name: families[f"db_pool_{name}"].samples[0].value for name in ("size", "idle", "max", "waiting")}
    assert pool == {"size": 3, "idle": 1, "max": 20, "waiting": 2}


WORKER = """
from fhirserver.observe import metrics
metrics.request_done("GET", 200, 0.01, "Patient", "read")
metrics.pool_state(size=2, idle=1, size_max=5)
metrics.build_info("1")
"""
READER = """
import sys
from fhirserver.observe import metrics
for pid in sys.argv[1:]:
    metrics.worker_gone(int(pid))
sys.stdout.write(metrics.render()[0].decode())
"""


def test_workers_are_added_up(tmp_path: Path) -> None:
    environment = {**os.environ, metrics.FOLDER: str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[3])}
    for _ in range(2):
        subprocess.run([sys.executable, "-c", WORKER], env=environment, check=True)
    first = next(tmp_path.glob("gauge_livesum_*.db")).stem.rpartition("_")[2]

    def read(*arguments: str) -> str:
        command = [sys.executable, "-c", READER, *arguments]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    text = read()
    assert 'http_requests_total{method="GET",status="200"} 2.0' in text
    assert "db_pool_size 4.0" in text
    text = read(first)
    assert 'http_requests_total{method="GET",status="200"} 2.0' in text
    assert "db_pool_size 2.0" in text
