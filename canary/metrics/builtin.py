"""The built-in metrics of ingress-nginx as PromQL.

Canary requests carry stable's Ingress and Service; only the label `canary` tells them, `<namespace>-<service>-<port>`
of the canary's Service. See https://kubernetes.github.io/ingress-nginx/user-guide/monitoring/
"""

import re
from collections.abc import Iterable
from datetime import timedelta

from canary.model.spec import REQUEST_DURATION, REQUEST_SUCCESS_RATE, Metric
from canary.model.traffic import Backend

_REQUESTS = "nginx_ingress_controller_requests"
_DURATIONS = "nginx_ingress_controller_request_duration_seconds_bucket"


def promql(metric: Metric, namespace: str, backends: Iterable[Backend], elapsed: timedelta) -> str:
    """The query of a metric: the user's own, or the built-in over the canary's requests.

    The window is the metric's interval, but never longer than `elapsed`, the time that the weight has been in effect.
    """
    if metric.query is not None:
        return metric.query
    window = f"[{max(1, int(min(metric.interval, elapsed).total_seconds()))}s]"
    selector = f'namespace="{_quoted(namespace)}",canary=~"{_alternatives(namespace, backends)}"'
    if metric.name == REQUEST_SUCCESS_RATE:
        failed = f'(sum(rate({_REQUESTS}{{{selector},status=~"5.."}}{window})) or vector(0))'
        return f"100 - 100 * {failed} / sum(rate({_REQUESTS}{{{selector}}}{window}))"
    assert metric.name == REQUEST_DURATION, "the spec knows no other built-in"
    return f"1000 * histogram_quantile(0.99, sum by (le) (rate({_DURATIONS}{{{selector}}}{window})))"


def _alternatives(namespace: str, backends: Iterable[Backend]) -> str:
    labels = sorted({f"{namespace}-{backend.canary_service}-{backend.port}" for backend in backends})
    return "|".join(_quoted(re.escape(label).replace(r"\-", "-")) for label in labels)


def _quoted(text: str) -> str:
    """Text between double quotes in PromQL."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
