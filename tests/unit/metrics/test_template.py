"""How a value is written depends on where it stands, and what cannot be written there is refused."""

import re

import pytest

from canary.metrics.template import QueryError, render
from canary.model.metric_template import Value, VariableType, typed

VALUES: dict[str, Value] = {
    "text": typed(VariableType.STRING, "a.b"),
    "nasty": typed(VariableType.STRING, "\"'\\\n"),
    "tick": typed(VariableType.STRING, "`"),
    "broken": typed(VariableType.STRING, "\ufffd"),
    "five": typed(VariableType.NUMBER, "5"),
    "minus": typed(VariableType.NUMBER, "-0.5"),
    "window": typed(VariableType.DURATION, "90s"),
}

WRITTEN = [
    ("a query without variables stays as it is", 'sum(up{a="b"}[5m]) # `"', 'sum(up{a="b"}[5m]) # `"'),
    ("in a string", 'up{a="x-{{ text }}-y"}', 'up{a="x-a.b-y"}'),
    ("blanks do not matter", 'up{a="{{text}}{{  text\t}}"}', 'up{a="a.ba.b"}'),
    ("between double quotes", 'up{a="{{ nasty }}"}', r'up{a="\"' + "'" + r'\\\U0000000a"}'),
    ("between single quotes", "up{a='{{ nasty }}'}", r"""up{a='"\'\\\U0000000a'}"""),
    ("between back-quotes", "up{a=`{{ nasty }}`}", "up{a=`\"'\\\n`}"),
    ("what Prometheus takes for broken", 'up{a="{{ broken }}"}', r'up{a="\U0000fffd"}'),
    ("after =~ it matches only itself", 'up{a=~"{{ text }}.*"}', r'up{a=~"a\\.b.*"}'),
    ("after !~, too, and blanks", "up{a !~  '{{ text }}.*'}", r"up{a !~  'a\\.b.*'}"),
    ("in a raw pattern", "up{a=~`{{ text }}`}", r"up{a=~`a\.b`}"),
    ("a comment before the pattern", 'up{a=~ # it"s\n "{{ text }}"}', 'up{a=~ # it"s\n "a\\\\.b"}'),
    ("a pattern is over with its string", 'up{a=~"x", b="{{ text }}"}', 'up{a=~"x", b="a.b"}'),
    ("the string after a pattern", 'up{a=~"x" "{{ text }}"}', 'up{a=~"x" "a.b"}'),
    ("=~ in a string is no matcher", 'f("=~", "{{ text }}")', 'f("=~", "a.b")'),
    ("a number in a pattern is quoted", 'up{a=~"{{ minus }}"}', r'up{a=~"\\-0\\.5"}'),
    ("after an escaped backslash in a pattern", r'up{a=~"\\\\{{ text }}"}', r'up{a=~"\\\\a\\.b"}'),
    ("numbers outside of strings", "up > {{ five }}", "up > 5"),
    ("a number below zero", "2 ^ {{ minus }}", "2 ^ (-0.5)"),
    ("a duration in brackets", "rate(up[{{ window }}] offset {{ window }})", "rate(up[1m30s] offset 1m30s)"),
    ("in a subquery", "up[{{ window }}:{{ window }}] + up[1h:{{ window }}]", "up[1m30s:1m30s] + up[1h:1m30s]"),
    ("numbers and durations in strings", 'f("{{ minus }}{{ window }}")', 'f("-0.51m30s")'),
    ("comments stay", "1 # {{ unknown }} {{\n+ {{ five }}", "1 # {{ unknown }} {{\n+ 5"),
    ("a quote in a comment opens nothing", "1 # it's\n+ {{ five }}", "1 # it's\n+ 5"),
    ("# in a string is no comment", 'f("# {{ text }}")', 'f("# a.b")'),
    ("escapes stay", r'f("\"{{ text }}\\")', r'f("\"a.b\\")'),
    ("an escaped brace is text", r'f("\x7b{ text }}")', r'f("\x7b{ text }}")'),
    ("single braces are text", "{a='{'}", "{a='{'}"),
]

REFUSED = [
    ("unknown", 'f("{{ nobody }}")', "{{ nobody }} at character 4 is unknown; the variables are broken, five,"),
    ("a string outside of strings", "sum({{ text }})", "{{ text }} at character 5 is a string, which can stand only"),
    ("not closed", 'f("{{ text")', "{{ at character 4 does not begin a variable"),
    ("not a name", 'f("{{ a-b }}")', "{{ at character 4 does not begin a variable"),
    ("empty", "{{ }}", "{{ at character 1 does not begin a variable"),
    ("three braces", "up{{{ five }}}", "{{ at character 3 does not begin a variable"),
    ("a function", "{{ lower .text }}", "{{ at character 1 does not begin a variable"),
    ("a back-quote between back-quotes", "f(`{{ tick }}`)", "{{ tick }} at character 4: a value with a back-quote"),
    ("a broken character between back-quotes", "f(`{{ broken }}`)", "U+FFFD cannot stand between back-quotes"),
    ("a unit after it", "up[{{ five }}m]", "{{ five }} at character 4 touches what is beside it"),
    ("a digit before it", "up[1{{ five }}]", "touches what is beside it"),
    ("a name before it", "up{{ five }}", "{{ five }} at character 3 touches"),
    ("another after it", "{{ five }}{{ five }}", "{{ five }} at character 1 touches"),
    ("a point before it", "0.{{ five }}", "touches"),
    ("a name with a colon before it", "job:up:{{ five }}", "touches"),
    ("a backslash before it", r'f("\{{ text }}")', "the backslash at character 4 begins no escape sequence"),
    ("half an escape before it", r'f("\x4{{ five }}")', "the backslash at character 4 begins no escape sequence"),
    ("an escape of the other quotes", r"""f("\'")""", "the backslash at character 4 begins no escape sequence"),
    ("a backslash in a pattern before it", r'f{a=~"\\{{ text }}"}', "at character 9 follows a backslash in a regular"),
    ("another spelling of that", r'f{a=~"\x5c{{ text }}"}', "follows a backslash in a regular expression"),
    ("a raw one", r"f{a=~`\{{ text }}`}", "follows a backslash in a regular expression"),
    ("a string that is not closed", 'f("{{ text }})', 'a string that begins with " is not closed'),
    ("a raw string that is not closed", "f(`{{ text }})", "a string that begins with ` is not closed"),
    ("a line that ends in a string", "f('\n')", "a string is not closed: the line ends at character 4"),
]


@pytest.mark.parametrize(("query", "written"), [row[1:] for row in WRITTEN], ids=[row[0] for row in WRITTEN])
def test_a_value_is_written_as_its_place_asks(query: str, written: str) -> None:
    assert render(query, VALUES) == written


@pytest.mark.parametrize(("query", "problem"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_cannot_be_written_is_refused_with_its_place(query: str, problem: str) -> None:
    with pytest.raises(QueryError, match=re.escape(problem)):
        render(query, VALUES)
