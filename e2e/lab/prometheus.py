"""Debian's Prometheus, scraping ingress-nginx each second."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from e2e.lab import ingress
from e2e.lab.process import Process
from e2e.lab.ready import answers
from e2e.lab.start import Start

URL = "http://10.244.0.1:9090"
"""Where the lab's programs, the tests and the pods reach it."""
SCRAPE_INTERVAL_SECONDS = 1


def start_prometheus(start: Start, folder: Path) -> Process:
    """Start it with an empty store."""
    (folder / "targets").mkdir(parents=True)
    configuration = folder / "prometheus.json"
    configuration.write_text(json.dumps(_configuration(folder)))
    command = [
        "/usr/bin/prometheus",
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={URL.removeprefix('http://')}",
        "--log.level=warn",
    ]
    return start("prometheus", command)


def add_targets(folder: Path, job: str, addresses: Sequence[str]) -> None:
    """Have `host:port` addresses scraped too, under a job's name; Prometheus sees the file by itself."""
    targets = [{"targets": list(addresses), "labels": {"job": job}}]
    new = folder / "targets" / f"{job}.new"
    new.write_text(json.dumps(targets))
    new.rename(folder / "targets" / f"{job}.json")


def prometheus_ready() -> bool:
    """Whether it answers queries."""
    return answers(f"{URL}/-/ready")


def _configuration(folder: Path) -> dict[str, object]:
    """Its configuration file; JSON is YAML."""
    interval = f"{SCRAPE_INTERVAL_SECONDS}s"
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "scrape_configs": [
            {"job_name": "ingress-nginx", "static_configs": [{"targets": [ingress.METRICS]}]},
            {"job_name": "added", "file_sd_configs": [{"files": [str(folder / "targets" / "*.json")]}]},
        ],
    }
