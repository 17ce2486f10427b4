"""A share of the requests: what a step asks for, and what a route carries."""

import re
import warnings
from dataclasses import dataclass

from canary.model.fields import SpecError, get, items, required
from canary.model.template import Json

FINEST = 0.01
"""Percent: no weight is told more finely."""
LONGEST_TEXT = 200
"""Characters of a name, a value or a regular expression."""

# What ingress-nginx takes with its validation of annotations, BasicCharsRegex and IsValidRegex in
# https://github.com/kubernetes/ingress-nginx/blob/main/internal/ingress/annotations/parser/validators.go,
# less what nginx does not pass on: it drops headers whose names have other characters, unless told not to.
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]+")
_COOKIE_NAME = re.compile(r"[A-Za-z0-9._~-]+")
_EXACT = re.compile(r"[A-Za-z0-9._~/:-]+( +[A-Za-z0-9._~/:-]+)*")
_REGEX = re.compile(r"[A-Za-z0-9._~/:^$\[\](){}*+?|&=\\-]+")

_NOT_PCRE = re.compile(r"(\\[NUu]|\(\?[a-zL-]*[aLu])|\\.", re.DOTALL)
"""What Python understands and PCRE does not is in the group."""


@dataclass(frozen=True)
class Header:
    """A request header. With neither value the header itself decides, by its values `always` and `never`."""

    name: str
    exact: str | None = None
    regex: str | None = None

    def __str__(self) -> str:
        value = f"={self.exact}" if self.exact is not None else f"~{self.regex}" if self.regex is not None else ""
        return f"header {self.name}{value}"


@dataclass(frozen=True)
class Match:
    """The requests that go to the canary whatever the weight: by a header, by a cookie (`always`, `never`), or both."""

    header: Header | None = None
    cookie: str | None = None

    def __str__(self) -> str:
        cookie = f"cookie {self.cookie}" if self.cookie else ""
        return " or ".join(filter(None, (str(self.header or ""), cookie)))


@dataclass(frozen=True)
class Share:
    """Which requests the canary gets: `weight` percent of them, 0 to 100, and those that match. False: none."""

    weight: float = 0
    match: Match | None = None

    def __bool__(self) -> bool:
        return self.weight > 0 or self.match is not None

    def __str__(self) -> str:
        weight = f"weight {self.weight:g} %"
        return weight if self.match is None else f"{self.match}, {weight}" if self.weight else str(self.match)


NOTHING = Share()


def parse_weight(path: str, item: Json) -> float:
    """`weight` of a step in percent, in steps of `FINEST`; 0 where it is left out."""
    weight = get(item, path, "weight", (int, float), 0)
    if not 0 <= weight <= 100:
        raise SpecError(f"{path}.weight", f"must be from 0 to 100, is {weight}")
    if round(weight, 2) != weight:
        raise SpecError(f"{path}.weight", f"must have at most two decimals, is {weight}")
    return abs(float(weight))


def parse_matches(path: str, item: Json) -> Match | None:
    """`match` of a step, a list as Flagger's; None where it is left out. A request need match but one of its entries.

    Raises SpecError also for what is well formed, but more than ingress-nginx can do, or than it would ignore.
    """
    if get(item, path, "match", list, None) is None:
        return None
    found = Match()
    for index, entry in enumerate(items(item, path, "match", _entry)):
        if (found.header and entry.header) or (found.cookie and entry.cookie):
            problem = "is one too many: ingress-nginx looks at one header and at one cookie"
            raise SpecError(f"{path}.match[{index}].headers", problem)
        found = Match(found.header or entry.header, found.cookie or entry.cookie)
    if found == Match():
        raise SpecError(f"{path}.match", "must have an entry with a header or a cookie")
    return found


def _entry(path: str, item: Json) -> Match:
    _only(path, item, "headers")
    headers = get(item, path, "headers", dict, {})
    path = f"{path}.headers"
    if len(headers) != 1:
        raise SpecError(path, f"must have one header, has {len(headers)}: ingress-nginx never asks for two together")
    (name,) = headers
    if len(name) > LONGEST_TEXT or not _HEADER_NAME.fullmatch(name):
        problem = f"{name[:LONGEST_TEXT]!r} is not the name of a header that nginx passes on"
        raise SpecError(path, f"{problem}: letters, digits and -, at most {LONGEST_TEXT}")
    value = required(headers, path, name, dict)
    return (
        _cookie(f"{path}.{name}", value) if name.lower() == "cookie" else Match(_header(f"{path}.{name}", name, value))
    )


def _cookie(path: str, value: Json) -> Match:
    _only(path, value, "exact")
    required(value, path, "exact", str)
    return Match(cookie=_text(path, value, "exact", _COOKIE_NAME, "the name of a cookie, of letters, digits and -._~"))


def _header(path: str, name: str, value: Json) -> Header:
    _only(path, value, "exact", "regex")
    exact = _text(path, value, "exact", _EXACT, "letters, digits and -._~/: with spaces only between")
    regex = _text(path, value, "regex", _REGEX, "letters, digits and -._~/:^$[](){}*+?|&=\\")
    if exact is not None and regex is not None:
        raise SpecError(f"{path}.regex", "cannot stand beside exact: ingress-nginx would ignore it")
    if regex is not None:
        _check_regex(f"{path}.regex", regex)
    return Header(name, exact, regex)


def _only(path: str, item: Json, *known: str) -> None:
    """A field that is not understood would widen what matches if it were left alone."""
    for key in item:
        if key not in known:
            raise SpecError(f"{path}.{key}", f"is not what ingress-nginx can match by: only {' or '.join(known)}")


def _text(path: str, item: Json, key: str, allowed: re.Pattern[str], said: str) -> str | None:
    text: str | None = get(item, path, key, str, None)
    if text is None:
        return None
    if len(text) > LONGEST_TEXT:
        raise SpecError(f"{path}.{key}", f"must have at most {LONGEST_TEXT} characters, has {len(text)}")
    if not allowed.fullmatch(text):
        raise SpecError(f"{path}.{key}", f"{text!r} is not what ingress-nginx takes: {said}")
    return text


def _check_regex(path: str, regex: str) -> None:
    """It runs in nginx, as PCRE: a request would count as not matching, and get no share by weight either."""
    try:
        with warnings.catch_warnings(action="ignore"):
            re.compile(regex)
    except (re.error, OverflowError, RecursionError) as error:
        raise SpecError(path, f"{regex!r} is not a regular expression ({error})") from None
    if foreign := next((found[1] for found in _NOT_PCRE.finditer(regex) if found[1]), None):
        raise SpecError(path, f"{regex!r} is not a regular expression for nginx ({foreign} is unknown to PCRE)")
