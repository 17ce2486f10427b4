"""A Prometheus that has scraped what a test says: it answers the one query of ingress-nginx, at any time.

It knows of PromQL only the names of the Ingresses that the query asks for, and Prometheus's rules of time: an instant
shows the newest scrape of the last five minutes, a target that is gone shows nothing. Its answers have the shape of
those of a real one (see test_ingress_nginx.py).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from canary.metrics.answers import Labels, Matrix, Vector
from canary.model.measurement import ProviderError

LOOKBACK_SECONDS = 300.0
Series = Mapping[tuple[str, str, str], float]
"""Value by Ingress, value of the label `canary`, and status (`200`) or bound (`le=0.1`)."""
NAMESPACE = "test"


@dataclass
class Recorded:
    now: float = 0.0
    broken: ProviderError | None = None
    broken_range: ProviderError | None = None
    scrapes: dict[tuple[str, str], list[tuple[float, Series | None]]] = field(default_factory=dict)
    """By job and pod; None where the target was gone."""
    asked: list[str] = field(default_factory=list)
    readings: int = 0
    """In the last range."""

    def scrape(self, pod: str, at: float, series: Series | None, job: str = "ingress") -> None:
        self.scrapes.setdefault((job, pod), []).append((at, series))
        self.now = max(self.now, at)

    async def vector(self, promql: str, at: float | None = None) -> Vector | ProviderError:
        at = self.now if at is None else at
        if "count_over_time" in promql:
            self.asked.append("density")
            return self.broken or Vector(at, [({}, self._density(at))])
        self.asked.append("vector")
        return self.broken or Vector(at, self._at(promql, at))

    async def matrix(self, promql: str, start: float, end: float, step_seconds: float) -> Matrix | ProviderError:
        self.asked.append(f"matrix {end - start:g} s")
        self.readings = int((end - start) / step_seconds) + 1
        if problem := self.broken or self.broken_range:
            return problem
        series: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
        for step in range(self.readings):
            at = start + step * step_seconds
            for labels, value in self._at(promql, at):
                series.setdefault(tuple(sorted(labels.items())), []).append((at, value))
        return Matrix([(dict(labels), points) for labels, points in series.items()])

    def _density(self, at: float) -> float:
        """Scrapes of the busiest pod within two minutes."""
        return max(sum(at - 120 < time <= at for time, _ in scrapes) for scrapes in self.scrapes.values())

    def _at(self, promql: str, at: float) -> list[tuple[Labels, float]]:
        found = re.search(r'ingress=~"([^"]*)"', promql)
        assert found
        wanted = re.compile(found.group(1).replace("\\\\", "\\"))
        answer: list[tuple[Labels, float]] = []
        for (job, pod), scrapes in self.scrapes.items():
            newest = max((scrape for scrape in scrapes if scrape[0] <= at), default=(0.0, None), key=lambda it: it[0])
            if newest[1] is None or at - newest[0] > LOOKBACK_SECONDS:
                continue
            source = {"controller_pod": pod, "job": job, "instance": f"{pod}:10254"}
            answer.append((source, newest[0]))
            for (ingress, canary, kind), value in newest[1].items():
                if wanted.fullmatch(ingress):
                    labels = source | {"namespace": NAMESPACE, "ingress": ingress, "service": ingress}
                    labels |= {"canary": canary} if canary else {}
                    labels |= {"le": kind.removeprefix("le=")} if kind.startswith("le=") else {"status": kind}
                    answer.append((labels, value))
        return answer
