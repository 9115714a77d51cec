"""Expressions give what numpy gives event by event, and refuse everything else at a named place."""

import math
import time

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlaas.errors import SelectionError
from mlaas.expressions import MAX_LENGTH, Expression
from mlaas.readers.arrays import is_jagged
from mlaas.readers.base import Kind

EVENTS = {
    "n": ak.Array(np.array([1, 2, 5, 0], "u4")),
    "met": ak.Array(np.array([10.5, 20.25, 0.0, -3.0], "f4")),
    "flag": ak.Array([True, False, True, False]),
    "pt": ak.Array([[30.0, 5.0], [], [12.0], [1.0, 2.0, 3.0]]),
    "Jet.PT": ak.Array([[3, 1], [], [2], [7, 8, 9]]),
}


def value(text: str) -> list:
    return Expression.parse(text).evaluate(EVENTS).to_list()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n**2", [1, 4, 25, 0]),
        ("n - 5", [-4, -3, 0, -5]),
        ("-n + +met", [9.5, 18.25, -5, -3]),
        ("n // 2 + n % 2", [1, 1, 3, 0]),
        ("met / 2", [5.25, 10.125, 0, -1.5]),
        ("1 <= n <= 2", [True, True, False, False]),
        ("n == 1 or met < 0", [True, False, False, True]),
        ("(n == 1) | (met < 0)", [True, False, False, True]),
        ("flag and n > 1", [False, False, True, False]),
        ("not flag", [False, True, False, True]),
        ("~flag & (n != 0)", [False, True, False, False]),
        ("(n & 1) == 1", [True, False, True, False]),
        ("flag + flag", [2, 0, 2, 0]),
        ("abs(met)", [10.5, 20.25, 0, 3]),
        ("sqrt(n) * sqrt(n) > 4.9", [False, False, True, False]),
        ("minimum(n, 2)", [1, 2, 2, 0]),
        ("maximum(n, met)", [10.5, 20.25, 5, 0]),
        ("where(flag, met, -1)", [10.5, -1, 0, -1]),
        ("pt * 2", [[60, 10], [], [24], [2, 4, 6]]),
        ("pt + met", [[40.5, 15.5], [], [12], [-2, -1, 0]]),
        ("where(pt > 10, pt, 0)", [[30, 0], [], [12], [0, 0, 0]]),
        ("Jet.PT + pt", [[33, 6], [], [14], [8, 10, 12]]),
        ("sum(pt)", [35, 0, 12, 6]),
        ("count(pt)", [2, 0, 1, 3]),
        ("sum(pt > 10)", [1, 0, 1, 0]),
        ("any(pt > 10)", [True, False, True, False]),
        ("all(pt > 10)", [False, True, True, False]),
        ("max(pt) > 10", [True, False, True, False]),
        ("min(pt) < 10", [True, False, False, True]),
        ("sinh(0*met) + cosh(0*met) + arctan2(0*met, 1)", [1, 1, 1, 1]),
        ("log10(exp(0 * n)) + log(n / n)", [0, 0, 0, math.nan]),
        ("  n\n + 1 ", [2, 3, 6, 1]),
        ("pt[:2]", [[30, 5], [], [12], [1, 2]]),
        ("pt[1:]", [[5], [], [], [2, 3]]),
        ("pt[-1:]", [[5], [], [12], [3]]),
        ("pt[Jet.PT > 1]", [[30], [], [12], [1, 2, 3]]),
        ("sum(pt[pt > 4])", [35, 0, 12, 0]),
        ("count(pt[pt > 2 and Jet.PT < 9][:1])", [1, 0, 1, 0]),
        ("pt[0] > 10", [True, False, True, False]),
        ("hypot(n, 0) + floor(met) + round(met) + ceil(0 * met)", [21, 42, 5, -6]),
        ("isnan(pt[1])", [False, True, True, False]),
        ("delta_phi(3 + 0 * n, -3)", [6 - 2 * math.pi] * 4),
    ],
)
def test_values(text: str, expected: list) -> None:
    np.testing.assert_equal(value(text), expected)


def test_reductions_of_no_object_are_missing() -> None:
    np.testing.assert_equal(value("max(pt)"), [30, math.nan, 12, 3])
    np.testing.assert_equal(value("min(Jet.PT)"), [1, math.nan, 2, 7])
    np.testing.assert_equal(value("mean(pt)"), [17.5, math.nan, 12, 2])


def test_objects_that_are_not_there_are_missing() -> None:
    np.testing.assert_equal(value("pt[0]"), [30, math.nan, 12, 1])
    np.testing.assert_equal(value("pt[1]"), [5, math.nan, math.nan, 2])
    np.testing.assert_equal(value("pt[-1]"), [5, math.nan, 12, 3])
    np.testing.assert_equal(value("Jet.PT[-2]"), [3, math.nan, math.nan, 8])
    np.testing.assert_equal(value("(pt > 4)[0]"), [1, math.nan, 1, 0])


@pytest.mark.parametrize(
    "text", ["n + 1", "pt * 2", "sum(pt)", "pt[0]", "pt[:2]", "pt[pt > 3]", "pt + met", "-pt", "where(flag, pt, met)",
             "max(pt[pt > 3]) + n", "n < 1 and flag", "1 < pt < 3", "not any(pt > 1)", "sum(Jet.PT) * Jet.PT"]
)  # fmt: skip
def test_the_kind_is_known_without_the_events(text: str) -> None:
    kinds: dict[str, Kind] = {name: "jagged" if is_jagged(array) else "flat" for name, array in EVENTS.items()}
    expression = Expression.parse(text)
    assert (expression.kind(kinds) == "jagged") == is_jagged(expression.evaluate(EVENTS))


def test_undefined_values_are_not_errors() -> None:
    np.testing.assert_equal(value("1 / n"), [1, 0.5, 0.2, math.inf])
    np.testing.assert_equal(value("log(met - 10.5)")[3], math.nan)
    np.testing.assert_equal(value("n ** -1")[3], math.inf)


def test_names_are_those_of_branches() -> None:
    assert Expression.parse("log(pt) + Jet.PT * pt > met").names == ("pt", "Jet.PT", "met")


def test_large_powers_cost_nothing() -> None:
    before = time.monotonic()
    assert value("n * 9**9**9**9")[0] == math.inf
    assert time.monotonic() - before < 1


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("pt >", 1, "is not an expression"),
        ("n && flag", 4, "write and, or, not"),
        ("foo(pt)", 1, "unknown function foo"),
        ("met + sqr(pt)", 7, "did you mean sqrt"),
        ("max(n, 2)", 1, r"use maximum\(a, b\)"),
        ("where(n)", 1, "1 arguments where it takes 3"),
        ("n > 2 & met > 3", 5, "parentheses"),
        ("met & n", 1, "parentheses"),
        ("n[0]", 1, "one number an event"),
        ("pt[::2]", 6, "not of the form"),
        ("pt[n:]", 4, "not of the form"),
        ("pt[0.5]", 4, "no comparison of lists"),
        ("pt[flag]", 4, "no comparison of lists"),
        ("met + pt[Jet.PT]", 10, "no comparison of lists"),
        ("pt['a']", 4, "do not allow"),
        ("pt[0, 1]", 4, "do not allow"),
        ("'a' + n", 1, "do not allow"),
        ("n if flag else met", 1, "do not allow"),
        ("lambda: n", 1, "do not allow"),
        ("n @ met", 1, "do not allow"),
        ("n + [x for x in pt]", 5, "do not allow"),
        ("n in pt", 1, "do not allow"),
        ("n + 1j", 5, "do not allow"),
        ("n + True", 5, "do not allow"),
        ("n + f(*pt)", 5, "unknown function"),
        ("log(x=pt)", 1, "do not allow"),
        ("n + 1e999", 5, "too large"),
        ("n + " + "9" * 400, 5, "too large"),
        ("__import__('os').system('true')", 1, "do not allow"),
        ("().__class__", 1, "do not allow"),
    ],
)
def test_errors_point_at_the_character(text: str, place: int, message: str) -> None:
    with pytest.raises(SelectionError, match=message) as caught:
        Expression.parse(text).evaluate(EVENTS)
    assert f"character {place})" in str(caught.value)
    assert "▸" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Met > 3", "no branch Met to use; did you mean met"),
        ("n.__class__", r"no branch n\.__class__"),
        ("sum(n)", "takes sum of one number an event"),
        ("~met", "not an integer"),
        ("pt + where(pt > 100, 1, 0) * Jet.PT + sum(pt) + short", "no branch short"),
    ],
)
def test_errors_of_evaluation(text: str, message: str) -> None:
    with pytest.raises(SelectionError, match=message):
        Expression.parse(text).evaluate(EVENTS)


def test_lists_of_different_lengths_do_not_combine() -> None:
    events = {"a": ak.Array([[1.0], [2.0, 3.0]]), "b": ak.Array([[1.0, 2.0], [3.0]])}
    with pytest.raises(SelectionError, match="lists of different lengths"):
        Expression.parse("a * b").evaluate(events)
    with pytest.raises(SelectionError, match="lists of different lengths"):
        Expression.parse("a[b > 1]").evaluate(events)


@pytest.mark.parametrize(
    "text", ["(" * 900 + "n" + ")" * 900, "-" * 1900 + "n", "n" + "+n" * 990, "n" + " " * 9 + "\0"]
)
def test_nesting_is_limited(text: str) -> None:
    with pytest.raises(SelectionError) as caught:
        Expression.parse(text)
    assert len(str(caught.value)) < 400


def test_length_and_constants_are_limited() -> None:
    with pytest.raises(SelectionError, match=f"at most {MAX_LENGTH}"):
        Expression.parse("n+" * MAX_LENGTH + "n")
    with pytest.raises(SelectionError, match="uses no branch"):
        Expression.parse("1 + 2")


def test_large_unsigned_numbers_keep_their_size() -> None:
    events = {"event": ak.Array(np.array([1, 2**64 - 1], "u8"))}
    assert Expression.parse("event > 5").evaluate(events).to_list() == [False, True]


@given(st.text(alphabet="npt met()+-*/<>=&|~.,0123456789eorand[]", max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_is_an_expression_or_an_error(text: str) -> None:
    try:
        result = Expression.parse(text).evaluate(EVENTS)
    except SelectionError as error:
        assert "\n" not in str(error)  # noqa: PT017 - most texts raise, and those that do not are checked below
    else:
        assert len(result) == 4
