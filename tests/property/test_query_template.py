"""Whatever the value of a variable, a query asks the same; told by another lexer of PromQL than the one tested."""

import re
from dataclasses import dataclass

from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from canary.metrics.template import QueryError, render
from canary.model.metric_template import VariableType, typed

MARK = "MARK"
"""A value that needs neither escapes nor quoting."""

_LEXER = re.compile(
    r"""(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)|(?P<comment>\#[^\r\n]*)|(?P<blank>\s+)
    |(?P<word>[\w:.]+)|(?P<matcher>[=!]~)|(?P<other>[^"'`])""",
    re.VERBOSE,
)
_ESCAPES = re.compile(r"\\(x..|u....|U........|[0-7]{3}|.)", re.DOTALL)
_LETTERS = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    """Of a string: what it decodes to."""
    pattern: bool = False


def lexed(query: str) -> list[Token]:
    """As Prometheus reads a query; fails where it would not."""
    tokens: list[Token] = []
    at = 0
    while at < len(query):
        found = _LEXER.match(query, at)
        assert found, f"not PromQL at {at}: {query!r}"
        kind, text, at = found.lastgroup or "", found[0], found.end()
        if kind == "string":
            after = next((each for each in reversed(tokens) if each.kind not in ("blank", "comment")), None)
            tokens.append(Token(kind, decoded(text), bool(after and after.kind == "matcher")))
        else:
            tokens.append(Token(kind, text))
    return tokens


def decoded(literal: str) -> str:
    inner = literal[1:-1]
    return inner if literal[0] == "`" else _ESCAPES.sub(lambda found: _escaped(found[1]), inner)


def _escaped(escape: str) -> str:
    if escape[0] in "xuU" and len(escape) > 1:
        return chr(int(escape[1:], 16))
    return chr(int(escape, 8)) if len(escape) == 3 else _LETTERS.get(escape, escape)


PIECES = st.sampled_from(
    [
        "{{ a }}",
        "{{a}}",
        "{{ n }}",
        *"\"'`",
        *"\"'`",
        "=~",
        "!~",
        "=~ ",
        '=~"',
        "!~`",
        "up{b=",
        ',c!="',
        "\\\\",
        "\\n",
        '\\"',
        "\\'",
        "\\x5c",
        "\\",
        "# ",
        "#'\n",
        "\n",
        " ",
        "{",
        "}",
        "[5m]",
        "(",
        ") + ",
        "e",
        "7",
        "=",
        "~",
    ]
)
SOUP = st.lists(PIECES, max_size=12).map("".join)


@st.composite
def well_formed(draw: st.DrawFn) -> str:
    """Matchers whose strings have the variable among other text."""
    parts = []
    for quote in draw(st.lists(st.sampled_from("\"'`"), min_size=1, max_size=3)):
        between = {'"': ["x", "'", "`", '\\"', "\\\\x", "#"], "'": ["x", '"', "\\'", "\\\\x"], "`": ["x", '"', "\n"]}
        text = st.lists(st.sampled_from([*between[quote], "{{ a }}", "{{ n }}"]), max_size=4).map("".join)
        operator = draw(st.sampled_from(["=", "!=", "=~", "!~", "=~ ", "!~ # it's `so`\n "]))
        parts.append(f"l{operator}{quote}{draw(text)}{{{{ a }}}}{draw(text)}{quote}")
    return f"sum(up{{{','.join(parts)}}}) > {{{{ n }}}}"


NASTY = st.text(st.sampled_from("\"'`\\{}|.*+?()[]^$#\n\r\0 ax=~,5\ufffd\u2028é"), max_size=8)
VALUES = NASTY | st.text(max_size=20)


@settings(max_examples=1000, deadline=None)
@given(
    st.one_of(well_formed(), well_formed(), SOUP), VALUES, st.from_regex(r"-?[0-9]{1,3}(\.[0-9]{1,2})?", fullmatch=True)
)
@example('up{a=~"{{ a }}"}', '\\"} or up{b=~"', "5")
@example("up{a=~`{{ a }}`}", ".*|\\", "5")
@example('up{a="{{ a }}"}', "\\", "5")
@example("# '\nup{a='{{ a }}'}", "\n' or 'b", "5")
def test_no_value_changes_what_a_query_asks(query: str, value: str, number: str) -> None:
    def written(text: str) -> str:
        return render(query, {"a": typed(VariableType.STRING, text), "n": typed(VariableType.NUMBER, number)})

    try:
        harmless = lexed(written(MARK))
    except QueryError:
        event("refused")
        return
    try:
        tokens = lexed(written(value))
    except QueryError:
        assert {"`", "\ufffd"} & set(value), "nothing else is refused for its value"
        return
    event("with the variable" if any(MARK in token.text for token in harmless) else "without the variable")
    assert [(token.kind, token.pattern) for token in tokens] == [(token.kind, token.pattern) for token in harmless]
    for token, as_meant in zip(tokens, harmless, strict=True):
        if token.kind != "string":
            assert token == as_meant
        elif not token.pattern:
            assert token.text == as_meant.text.replace(MARK, value)
        else:
            assert token.text == as_meant.text.replace(MARK, re.escape(value))


@settings(max_examples=300, deadline=None)
@given(VALUES, VALUES, st.sampled_from("\"'"))
def test_in_a_pattern_a_value_matches_itself_and_nothing_else(value: str, other: str, quote: str) -> None:
    query = f"up{{a=~{quote}{{{{ a }}}}{quote}}}"
    (string,) = (
        each for each in lexed(render(query, {"a": typed(VariableType.STRING, value)})) if each.kind == "string"
    )
    assert string.pattern
    assert re.fullmatch(string.text, value)
    assert bool(re.fullmatch(string.text, other)) == (value == other)
