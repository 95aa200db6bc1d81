"""What a checker says of whatever a reader may write."""

import inspect

import numpy as np
import pytest

from robustlib.verdicts import Verdict, array_of, call, checker, expect

drawn = []


@checker(right="it doubles.")
def check_double(answer, rng):
    """Ask for twice a row of numbers."""
    numbers = rng.normal(size=3)
    drawn.append(tuple(numbers))
    result = array_of(call(answer, numbers.copy()), (3,))
    expect(np.allclose(result, 2 * numbers), "the numbers are not doubled.")


def stub(numbers): ...


def raises(numbers):
    raise KeyError("no such thing")


def test_right():
    verdict = check_double(lambda numbers: 2 * numbers)
    assert verdict == Verdict("right", "it doubles.")
    assert repr(verdict) == "Right: it doubles."


@pytest.mark.parametrize("answer", [None, ..., stub, lambda numbers: ...])
def test_not_yet(answer):
    assert check_double(answer).status == "not yet"
    assert repr(check_double(answer)).startswith("Not yet: replace the three dots")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (lambda numbers: numbers, "the numbers are not doubled."),
        (np.zeros(3), "a ndarray was given: pass the function, without calling it."),
        (raises, "your function stopped with KeyError: 'no such thing'"),
        (lambda: 0, "your function stopped with TypeError"),
        (lambda numbers: "two", "returned a str, where an array was expected."),
        (lambda numbers: {"a": 1}, "returned a dict, where an array was expected."),
        (lambda numbers: numbers[:2], "has the shape (2,), where (3,) was expected."),
        (lambda numbers: numbers / 0, "NaN or infinite numbers: look for a division by zero."),
    ],
)
def test_wrong(answer, text):
    with np.errstate(all="ignore"):
        verdict = check_double(answer)
    assert verdict.status == "wrong" and text in verdict.message


def test_cases_are_fresh():
    drawn.clear()
    for _ in range(5):
        check_double(lambda numbers: 2 * numbers)
    assert len(set(drawn)) == 5


def test_a_checker_shows_one_argument():
    assert list(inspect.signature(check_double).parameters) == ["answer"]
    assert check_double.__doc__ == "Ask for twice a row of numbers."
