"""Which requests a step asks for, and what is said of what ingress-nginx could not do."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary.model.fields import SpecError
from canary.model.share import NOTHING, Header, Match, Share, parse_matches, parse_weight

STEP = "spec.steps[0]"
PCRE = r"^(beta|qa)[0-9]{2}\.?(?:-[a-z]+)*(?=x|y)&/:~_$"


def weight(value: object) -> float:
    return parse_weight(STEP, {"weight": value})


def match(*headers: Any) -> Match | None:
    return parse_matches(STEP, {"match": [{"headers": each} for each in headers]})


def refused(entries: object) -> str:
    with pytest.raises(SpecError) as failure:
        parse_matches(STEP, {"match": entries})
    return str(failure.value)


class TestWeight:
    @pytest.mark.parametrize("value", [0, 1, 50, 100, 0.01, 0.29, 12.5, 99.99, 100.0])
    def test_a_number_with_up_to_two_decimals(self, value: float) -> None:
        assert weight(value) == value

    def test_a_whole_number_prints_as_one(self) -> None:
        assert f"{weight(5):g} {weight(5.0):g} {weight(-0.0):g}" == "5 5 0"

    def test_left_out_it_is_none_at_all(self) -> None:
        assert parse_weight(STEP, {}) == weight(None) == 0

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            (-0.01, "must be from 0 to 100, is -0.01"),
            (100.01, "must be from 0 to 100"),
            (float("nan"), "must be from 0 to 100"),
            (float("inf"), "must be from 0 to 100"),
            (0.005, "must have at most two decimals, is 0.005"),
            (33.333, "must have at most two decimals"),
            (True, "has the wrong type (bool)"),
            ("5", "has the wrong type (str)"),
        ],
    )
    def test_anything_else_is_refused(self, value: object, said: str) -> None:
        with pytest.raises(SpecError) as failure:
            weight(value)
        assert str(failure.value).startswith(f"{STEP}.weight: {said}")

    @given(st.integers(0, 10_000))
    def test_every_hundredth_of_a_percent_can_be_said(self, hundredths: int) -> None:
        written = float(f"{hundredths // 100}.{hundredths % 100:02}")
        assert weight(written) == written


class TestMatch:
    @pytest.mark.parametrize(
        ("headers", "found"),
        [
            ([{"x-canary": {}}], Match(Header("x-canary"))),
            ([{"X-Canary": {"exact": "insider"}}], Match(Header("X-Canary", exact="insider"))),
            ([{"x-canary": {"exact": "beta users: 1/2"}}], Match(Header("x-canary", exact="beta users: 1/2"))),
            ([{"x-canary": {"regex": PCRE}}], Match(Header("x-canary", regex=PCRE))),
            ([{"x-canary": {"regex": r"\(?a[[:alpha:]]"}}], Match(Header("x-canary", regex=r"\(?a[[:alpha:]]"))),
            ([{"cookie": {"exact": "canary"}}], Match(cookie="canary")),
            ([{"Cookie": {"exact": "canary_1.b~c-d"}}], Match(cookie="canary_1.b~c-d")),
            ([{"cookie": {"exact": "c"}}, {"x": {"exact": "1"}}], Match(Header("x", exact="1"), "c")),
        ],
    )
    def test_a_header_a_cookie_or_either_of_them(self, headers: list[Any], found: Match) -> None:
        assert match(*headers) == found

    def test_left_out_there_is_none(self) -> None:
        assert parse_matches(STEP, {}) is None
        assert parse_matches(STEP, {"match": None}) is None

    @pytest.mark.parametrize(
        ("entries", "said"),
        [
            ("x-canary", "match: has the wrong type (str)"),
            ([], "match: must have an entry"),
            (["x-canary"], "match[0]: must be an object"),
            ([{}], "match[0].headers: must have one header, has 0"),
            ([{"headers": {}}], "match[0].headers: must have one header, has 0"),
            ([{"headers": {"a": {}, "b": {}}}], "match[0].headers: must have one header, has 2"),
            ([{"headers": {"a": {}}}, {"headers": {"b": {}}}], "match[1].headers: is one too many"),
            (
                [{"headers": {"cookie": {"exact": "a"}}}, {"headers": {"Cookie": {"exact": "b"}}}],
                "match[1].headers: is one too many",
            ),
            ([{"headers": {"a": None}}], "match[0].headers.a: is required"),
            ([{"headers": {"a": "insider"}}], "match[0].headers.a: has the wrong type (str)"),
            ([{"headers": {"a": {}}, "uri": {"exact": "/"}}], "match[0].uri: is not what ingress-nginx can match by"),
        ],
    )
    def test_another_form_is_refused(self, entries: object, said: str) -> None:
        assert refused(entries).startswith(f"{STEP}.{said}")

    @pytest.mark.parametrize("name", ["", "x_canary", "x.canary", "x canary", "x:", "é", "x\n", "a" * 201])
    def test_a_header_that_nginx_drops_is_refused(self, name: str) -> None:
        said = refused([{"headers": {name: {"exact": "insider"}}}])
        assert said.startswith(f"{STEP}.match[0].headers: ")
        assert "is not the name of a header that nginx passes on" in said
        assert len(said) < 400

    @pytest.mark.parametrize(
        ("value", "field", "said"),
        [
            ({"exact": "a", "regex": "b"}, "regex", "cannot stand beside exact"),
            ({"prefix": "a"}, "prefix", "is not what ingress-nginx can match by: only exact or regex"),
            ({"exact": 1}, "exact", "has the wrong type (int)"),
            ({"exact": ""}, "exact", "'' is not what ingress-nginx takes"),
            ({"exact": " a"}, "exact", "' a' is not"),
            ({"exact": "a "}, "exact", "'a ' is not"),
            ({"exact": "a,b"}, "exact", "'a,b' is not"),
            ({"exact": "a\n"}, "exact", "'a\\n' is not"),
            ({"exact": "a@example.com"}, "exact", "'a@example.com' is not"),
            ({"exact": "é"}, "exact", "'é' is not"),
            ({"exact": "a" * 201}, "exact", "must have at most 200 characters, has 201"),
            ({"regex": ""}, "regex", "'' is not what ingress-nginx takes"),
            ({"regex": "a b"}, "regex", "'a b' is not what ingress-nginx takes"),
            ({"regex": "a{1,2}"}, "regex", "'a{1,2}' is not what ingress-nginx takes"),
            ({"regex": "(?!a)"}, "regex", "'(?!a)' is not what ingress-nginx takes"),
            ({"regex": "a" * 201}, "regex", "must have at most 200 characters"),
            ({"regex": "(a"}, "regex", "'(a' is not a regular expression (missing )"),
            ({"regex": "a{99999999999999999999}"}, "regex", "'a{99999999999999999999}' is not a regular expression"),
            ({"regex": r"\\\u0041"}, "regex", r"'\\\\\\u0041' is not a regular expression for nginx (\u is unknown"),
            ({"regex": "(?a:x)"}, "regex", "'(?a:x)' is not a regular expression for nginx ((?a is unknown"),
        ],
    )
    def test_a_value_that_would_be_ignored_is_refused(self, value: object, field: str, said: str) -> None:
        assert refused([{"headers": {"x-canary": value}}]).startswith(
            f"{STEP}.match[0].headers.x-canary.{field}: {said}"
        )

    @pytest.mark.parametrize(
        ("value", "field", "said"),
        [
            ({}, "exact", "is required"),
            ({"regex": "a"}, "regex", "is not what ingress-nginx can match by: only exact"),
            ({"exact": "a=b"}, "exact", "'a=b' is not"),
            ({"exact": "a b"}, "exact", "'a b' is not"),
            ({"exact": "a/b"}, "exact", "'a/b' is not"),
        ],
    )
    def test_a_cookie_has_a_name_and_no_other_value(self, value: object, field: str, said: str) -> None:
        assert refused([{"headers": {"cookie": value}}]).startswith(f"{STEP}.match[0].headers.cookie.{field}: {said}")

    @given(st.text("()[]|*+?a", min_size=1, max_size=200))
    def test_nothing_but_a_refusal_comes_of_any_regex(self, regex: str) -> None:
        with suppress(SpecError):
            assert match({"x": {"regex": regex}}) == Match(Header("x", regex=regex))

    def test_a_regex_may_be_nested_as_deeply_as_it_is_long(self) -> None:
        nested = "(" * 100 + ")" * 100
        assert match({"x": {"regex": nested}}) == Match(Header("x", regex=nested))


class TestShare:
    def test_nothing_is_false_and_anything_else_is_true(self) -> None:
        assert not NOTHING
        assert not Share(0.0)
        assert Share(0.01)
        assert Share(0, Match(cookie="c"))

    @pytest.mark.parametrize(
        ("share", "said"),
        [
            (Share(5.0), "weight 5 %"),
            (Share(0.5), "weight 0.5 %"),
            (NOTHING, "weight 0 %"),
            (Share(0, Match(Header("x", exact="a"))), "header x=a"),
            (Share(0.25, Match(Header("x", regex="^a"), "c")), "header x~^a or cookie c, weight 0.25 %"),
            (Share(0, Match(Header("x"))), "header x"),
        ],
    )
    def test_it_is_said_in_words(self, share: Share, said: str) -> None:
        assert str(share) == said
