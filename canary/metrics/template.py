"""Values into a query, so that none can change what the query asks.

As html/template does for HTML, the place of a variable decides how its value is written: a small scanner of PromQL
knows whether it stands in a string, between which quotes, and whether that string is a regular expression (after `=~`
or `!~`). Outside of strings only numbers and durations can stand, apart from what is around them. Comments stay as
they are. See https://prometheus.io/docs/prometheus/latest/querying/basics/ and promql/parser/lex.go of Prometheus.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from canary.model.metric_template import Value, VariableType

_VARIABLE = r"\{\{\s*(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*\}\}"
_ESCAPE = r"x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U00(?:0[0-9a-fA-F]|10)[0-9a-fA-F]{4}|[0-3][0-7]{2}"
_TOKENS = {
    "": re.compile(_VARIABLE + r"""|(?P<quote>["'`])|(?P<matcher>[=!]~)|(?P<blank>\s+|\#[^\r\n]*)|[^{]|\{(?!\{)"""),
    '"': re.compile(_VARIABLE + rf'|(?P<quote>")|\\(?:[abfnrtv\\"]|{_ESCAPE})|[^\\\n"{{]|\{{(?!\{{)'),
    "'": re.compile(_VARIABLE + rf"|(?P<quote>')|\\(?:[abfnrtv\\']|{_ESCAPE})|[^\\\n'{{]|\{{(?!\{{)"),
    "`": re.compile(_VARIABLE + r"|(?P<quote>`)|[^`{]|\{(?!\{)"),
}
"""By the quote that is open ("" outside of strings): what can come next."""

_BACKSLASH = re.compile(r"\\(?:\\|134|x5[cC]|u005[cC]|U0000005[cC])?")
"""A backslash as it is written in a string, of whichever quotes."""
_TOUCHES_BEFORE = re.compile(r"(?:[\w.]|(?<![\w:])[A-Za-z_][\w:]*:|\}\})\Z")
_TOUCHES_AFTER = re.compile(r"[\w.]|\{\{")
"""What would become one word with a value. A colon is part of a metric's name, and apart from `[1h:5m]`."""


class QueryError(ValueError):
    """A query that cannot be rendered; the text says where."""


@dataclass(frozen=True)
class Placeholder:
    """A variable in a query, and where it stands."""

    name: str
    position: int
    """Of its first character, counted from 1."""
    quote: str
    """Of the string around it: one of " ' `, or nothing."""
    pattern: bool
    """Whether that string is a regular expression."""


def render(query: str, values: Mapping[str, Value]) -> str:
    """The query with its variables replaced. Raises QueryError."""
    return "".join(part if isinstance(part, str) else _written(part, values) for part in parse(query))


def parse(query: str) -> Iterator[str | Placeholder]:
    """A query as text and placeholders, in their order. Raises QueryError."""
    quote, pattern, escapes, at = "", False, False, 0
    while at < len(query):
        token = _TOKENS[quote].match(query, at)
        if token is None:
            raise QueryError(_unreadable(query, at))
        if name := token["name"]:
            if quote == "" and (_TOUCHES_BEFORE.search(query, 0, at) or _TOUCHES_AFTER.match(query, token.end())):
                raise QueryError(f"{{{{ {name} }}}} at character {at + 1} touches what is beside it")
            if pattern and escapes:
                raise QueryError(f"{{{{ {name} }}}} at character {at + 1} follows a backslash in a regular expression")
            yield Placeholder(name, at + 1, quote, pattern and quote != "")
        else:
            yield token[0]
        at, escapes = token.end(), bool(quote and _BACKSLASH.fullmatch(token[0])) and not escapes
        if quote == "":
            blank, matcher, quote = token["blank"], token["matcher"], token["quote"] or ""
            pattern = bool(matcher) or (pattern and bool(blank or quote))
        elif token["quote"]:
            quote, pattern = "", False
    if quote:
        raise QueryError(f"a string that begins with {quote} is not closed")


def _unreadable(query: str, at: int) -> str:
    place = f"at character {at + 1}"
    if query.startswith("{{", at):
        return f"{{{{ {place} does not begin a variable, which is written {{{{ name }}}}"
    if query[at] == "\\":
        return f"the backslash {place} begins no escape sequence that PromQL knows"
    return f"a string is not closed: the line ends {place}"


def _written(place: Placeholder, values: Mapping[str, Value]) -> str:
    """A value as it must be written in this place."""
    what = f"{{{{ {place.name} }}}} at character {place.position}"
    value = values.get(place.name)
    if value is None:
        raise QueryError(f"{what} is unknown; the variables are {', '.join(sorted(values))}")
    if place.quote:
        text = re.escape(value.text) if place.pattern else value.text
        return _raw(text, what) if place.quote == "`" else escaped(text, place.quote)
    if value.type is VariableType.STRING:
        raise QueryError(f"{what} is a string, which can stand only between quotes")
    return f"({value.text})" if value.text.startswith("-") else value.text


def _raw(text: str, what: str) -> str:
    """Between back-quotes nothing can be escaped. U+FFFD Prometheus takes for broken UTF-8."""
    if "`" in text or "\ufffd" in text:
        raise QueryError(f"{what}: a value with a back-quote or U+FFFD cannot stand between back-quotes")
    return text


def escaped(text: str, quote: str = '"') -> str:
    """A text as it must be written between these quotes."""
    return "".join(_escape(char, quote) for char in text)


def _escape(char: str, quote: str) -> str:
    if char in ("\\", quote):
        return f"\\{char}"
    return char if char.isprintable() and char != "\ufffd" else f"\\U{ord(char):08x}"
