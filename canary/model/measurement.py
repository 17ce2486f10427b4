"""What one query to a metrics provider gave. The three are kept apart all the way: only `Measured` is evidence.

No data and a failed provider hold the weight; neither promotes, and neither rolls back by itself.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """One finite number."""

    value: float
    at: float
    """When the provider evaluated it: seconds since 1970, by the provider's clock."""


@dataclass(frozen=True)
class NoData:
    """The provider answered, and had nothing to say: no series, or not a number."""

    message: str


@dataclass(frozen=True)
class ProviderError:
    """The provider did not answer, or its answer cannot be trusted."""

    message: str
    """Short, and safe to show: no part of the answer, no URL."""


Sample = Measured | NoData | ProviderError
