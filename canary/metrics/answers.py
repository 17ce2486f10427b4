"""What the query API of Prometheus answered: checked, and parsed into numbers.

Every function raises AnswerRefused, in our own words, for an answer that must not be used: errors, partial answers
(warnings), results of another type or time than asked for, values that are no numbers.

API: https://prometheus.io/docs/prometheus/latest/querying/api/#expression-query-result-formats
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from math import isfinite
from typing import Any

import requests

from canary.metrics.session import AnswerRefused
from canary.model.measurement import Measured, NoData, ProviderError, Sample

MAX_AGE_SECONDS = 300.0
"""Prometheus's own lookback: it does not call older samples current either."""
ROUNDING_SECONDS = 1.0
"""How far the time of a result may be off the time that was asked for."""

# https://github.com/prometheus/prometheus, web/api/v1/api.go: the only words of an error that are repeated
_ERROR_TYPES = frozenset(
    {"bad_data", "canceled", "execution", "internal", "not_acceptable", "not_found", "timeout", "unavailable"}
)
_NO_NUMBERS = "the query must return numbers; a sample of the answer is none"

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Vector:
    """Many series at one instant. Values are finite."""

    at: float
    """When they were evaluated, by the clock of Prometheus: seconds since 1970."""
    series: Sequence[tuple[Labels, float]]


@dataclass(frozen=True)
class Matrix:
    """Many series over a range; of each, times of evaluation in seconds since 1970 and finite values."""

    series: Sequence[tuple[Labels, Sequence[tuple[float, float]]]]


def result_of(response: requests.Response, *types: str) -> list[Any]:
    """The result of a successful and complete answer of one of the types."""
    payload = _parse(response.content, response.status_code)
    if response.status_code != HTTPStatus.OK or payload.get("status") != "success":
        error_type = payload.get("errorType")
        detail = f", {error_type}" if isinstance(error_type, str) and error_type in _ERROR_TYPES else ""
        raise AnswerRefused(f"Prometheus refused the query (HTTP {response.status_code}{detail})")
    if payload.get("warnings"):
        raise AnswerRefused("Prometheus answered with warnings: the result may be partial")
    data = payload.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("result"), list):
        raise AnswerRefused("the answer is not one of Prometheus's query API: no result")
    if data.get("resultType") not in types:
        described = {"vector": "an instant vector", "scalar": "a scalar", "matrix": "a range of values"}
        raise AnswerRefused(f"the query must return {' or '.join(described[type_] for type_ in types)}")
    result: list[Any] = data["result"]
    return result


def sample(result: list[Any]) -> Sample:
    """One finite number, or why there is none."""
    points = _points(result)
    if not points:
        return NoData("the query returned no series")
    if len(points) > 1:
        return ProviderError(f"the query must return one series, not {len(points)}")
    at, value = points[0]
    if not isfinite(value):
        return NoData(f"the query returned {value}")
    return Measured(value=value, at=at)


def vector(result: list[Any], asked_for: float | None, served_at: float) -> Vector:
    """Many series, evaluated at the time that was asked for, or now by the server's clock."""
    points = [(_labels(entry), *_point(entry.get("value"))) for entry in result]
    at = points[0][1] if points else served_at if asked_for is None else asked_for
    if any(time != at for _, time, _ in points):
        raise AnswerRefused("the samples of the answer are not of one instant")
    if asked_for is None:
        refuse_stale([at], served_at)
    elif not abs(at - asked_for) <= ROUNDING_SECONDS:
        raise AnswerRefused("the answer is of another time than asked for")
    return Vector(at, [(labels, _finite(value)) for labels, _, value in points])


def matrix(result: list[Any], start: float, end: float) -> Matrix:
    """Many series, evaluated within the range."""
    series = [(_labels(entry), [_point(point) for point in _listed(entry.get("values"))]) for entry in result]
    for _, points in series:
        for at, value in points:
            if not start - ROUNDING_SECONDS <= at <= end + ROUNDING_SECONDS:
                raise AnswerRefused("the answer is of another time than asked for")
            _finite(value)
    return Matrix(series)


def refuse_stale_result(result: list[Any], served_at: float) -> None:
    """Refuse a vector or scalar that was not evaluated just now."""
    refuse_stale([at for at, _ in _points(result)], served_at)


def refuse_stale(times: list[float], served_at: float) -> None:
    """Refuse a time that is far from the server's own."""
    for at in times:
        if not abs(served_at - at) <= MAX_AGE_SECONDS:  # written so that a NaN is refused
            raise AnswerRefused(f"the sample is stale: it is more than {MAX_AGE_SECONDS:g} s off the server's clock")


def _parse(body: bytes, status_code: int) -> dict[str, Any]:
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        payload = None
    if isinstance(payload, dict):
        return payload
    if status_code != HTTPStatus.OK:
        raise AnswerRefused(f"Prometheus answered with HTTP {status_code}")
    raise AnswerRefused("the answer is not one of Prometheus's query API: not a JSON object")


def _points(result: list[Any]) -> list[tuple[float, float]]:
    """Time and value of each series: a vector has an object for each, a scalar is one bare point."""
    if all(isinstance(entry, dict) for entry in result):
        return [_point(entry.get("value")) for entry in result]
    return [_point(result)]


def _point(point: object) -> tuple[float, float]:
    if not isinstance(point, list) or len(point) != len(("time", "value")):
        raise AnswerRefused(_NO_NUMBERS)
    at, text = point
    try:
        # Prometheus writes values as strings; float() alone would also take 1_000 and surrounding blanks
        if not isinstance(text, str) or "_" in text or text != text.strip():
            raise ValueError
        return float(at), float(text)
    except (TypeError, ValueError, OverflowError):
        raise AnswerRefused(_NO_NUMBERS) from None


def _finite(value: float) -> float:
    """Refuse what no counter can be.

    To leave only that series out would be worse: it would be back as a newborn one, and be counted from zero.
    """
    if not isfinite(value):
        raise AnswerRefused(f"a counter of the answer is {value}")
    return value


def _labels(entry: object) -> Labels:
    labels = entry.get("metric") if isinstance(entry, dict) else None
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise AnswerRefused("the answer is not one of Prometheus's query API: a series without labels")
    return labels


def _listed(values: object) -> list[Any]:
    if not isinstance(values, list):
        raise AnswerRefused("the answer is not one of Prometheus's query API: a series without values")
    return values
