"""Whether an alert fires, asked of Prometheus as one number.

Prometheus writes the series `ALERTS` for what it evaluates itself:
https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/#inspecting-alerts-during-runtime
"""

from canary.metrics.template import escaped
from canary.model.freeze import Alert


def alert_query(alert: Alert) -> str:
    """PromQL that answers how many instances of the alert fire now: 0 where none does, or nobody knows the alert."""
    wanted = (("alertname", alert.name), ("alertstate", "firing"), *alert.labels)
    matchers = ", ".join(f'{label}="{escaped(value)}"' for label, value in wanted)
    return f"count(ALERTS{{{matchers}}}) or vector(0)"
