"""What an operator is told at its start: flags, each with an environment variable of the pod behind it."""

import argparse
import os
import socket
from dataclasses import dataclass

from canary.metrics.ingress_nginx import LabelNames, parse_labels
from canary.model.webhook import HOSTS_FLAG, parse_hosts


@dataclass(frozen=True)
class Settings:
    """Flags of the operator."""

    metrics_server: str
    """URL of Prometheus."""
    metrics_labels: LabelNames
    """Of the series of ingress-nginx in that Prometheus."""
    webhook_hosts: tuple[str, ...]
    """Patterns of hosts that any Canary may call, beside the Services of its own namespace."""
    ingress_class: str
    namespace: str
    """Where the operator runs and its Lease is."""
    instance: str
    """Name of this process in events and in the Lease."""
    port: int
    """Of /healthz and /readyz."""
    log_format: str
    watch_secrets: bool
    """Whether the operator has, and uses, the right to list Secrets."""


def _labels(text: str) -> LabelNames:
    try:
        return parse_labels(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _hosts(text: str) -> tuple[str, ...]:
    try:
        return parse_hosts(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def parse_settings(arguments: list[str] | None = None) -> Settings:
    """Read the command line. Exits with a usage text when it is wrong."""
    parser = argparse.ArgumentParser(prog="fluxcanary-operator", description="Progressive delivery for Flux.")
    parser.add_argument(
        "--metrics-server",
        default="http://prometheus.monitoring:9090",
        help="URL of the Prometheus that scrapes ingress-nginx (default: %(default)s)",
    )
    parser.add_argument(
        "--metrics-labels",
        type=_labels,
        default=LabelNames(),
        metavar="LABEL=NAME,…",
        help="names of the labels of ingress-nginx's series where relabeling changed them, e.g. namespace=k8s_ns; "
        "exported_namespace and exported_service are recognised",
    )
    parser.add_argument(
        HOSTS_FLAG,
        type=_hosts,
        default=(),
        metavar="HOST,…",
        help="hosts that webhooks of every Canary may call, * for any characters, e.g. gate.example.com,"
        "*.flagger-system (default: only Services of the Canary's own namespace)",
    )
    parser.add_argument("--ingress-class", default="nginx", help="class that ingress-nginx serves (default: nginx)")
    parser.add_argument(
        "--namespace",
        default=os.environ.get("POD_NAMESPACE", "fluxcanary-system"),
        help="namespace of the operator and of its Lease (default: $POD_NAMESPACE or fluxcanary-system)",
    )
    parser.add_argument(
        "--watch-secrets",
        action="store_true",
        help="notice Secrets that change under a rollout, too; needs the role in deploy/secrets",
    )
    parser.add_argument("--port", type=int, default=8080, help="port of /healthz and /readyz (default: 8080)")
    parser.add_argument("--log-format", choices=("json", "text"), default="json")
    options = parser.parse_args(arguments)
    if not options.metrics_server.startswith(("http://", "https://")):
        parser.error(f"--metrics-server: {options.metrics_server!r} does not begin with http:// or https://")
    return Settings(instance=os.environ.get("POD_NAME") or socket.gethostname(), **vars(options))
