"""Evidence: what the providers of metrics say."""

from typing import Protocol

from canary.model.measurement import Sample


class MetricProvider(Protocol):
    """Somebody who answers queries. Raises nothing: a failure is a ProviderError."""

    async def query(self, promql: str) -> Sample:
        """One number, or why there is none."""
