"""What a checker of exercises says, and how one is written.

A checker takes the reader's answer, a function, and returns a `Verdict`: right; or what was given,
what was expected and where to look; or "not yet" for the stub that the chapter starts with. It
never raises for anything a reader may write. The random cases are drawn anew at each call, so an
answer cannot be fitted to them.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Verdict:
    """What a checker says of an answer.

    Attributes:
        status: "right", "wrong" or "not yet".
        message: one sentence.
    """

    status: str
    message: str

    def __repr__(self) -> str:
        return f"{self.status.capitalize()}: {self.message}"


class Unlike(Exception):
    """An answer that is not right; the sentence says where to look."""


class Missing(Exception):
    """An answer that is still the stub."""


def checker(right: str) -> Callable:
    """Make a checker of `check(answer, rng)`, which passes in silence or says what is wrong.

    Args:
        right: the sentence for a right answer.
    """

    def decorate(check):
        @functools.wraps(check)
        def checked(answer: Any) -> Verdict:
            try:
                check(answer, np.random.default_rng())
            except Missing:
                return Verdict("not yet", "replace the three dots by your answer, then run again.")
            except Unlike as found:
                return Verdict("wrong", str(found))
            return Verdict("right", right)

        del checked.__wrapped__  # its signature has the answer alone
        return checked

    return decorate


def call(answer: Any, *arguments: Any) -> Any:
    """Return what the reader's function returns; it may write into the arrays that it is given."""
    if answer is None or answer is ...:
        raise Missing
    if not callable(answer):
        raise Unlike(f"a {type(answer).__name__} was given: pass the function, without calling it.")
    own = (a.copy() if isinstance(a, np.ndarray) else a for a in arguments)
    try:
        result = answer(*own)
    except Exception as error:
        raise Unlike(f"your function stopped with {type(error).__name__}: {error}") from error
    if result is None or result is ...:
        raise Missing
    return result


def array_of(result: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return a result as an array, if it has the shape expected and is finite."""
    try:
        array = np.asarray(result, np.float64)
    except (TypeError, ValueError):
        raise Unlike(
            f"your function returned a {type(result).__name__}, where an array was expected."
        ) from None
    if array.shape != shape:
        raise Unlike(f"the result has the shape {array.shape}, where {shape} was expected.")
    if not np.isfinite(array).all():
        raise Unlike("the result holds NaN or infinite numbers: look for a division by zero.")
    return array


def expect(condition: Any, sentence: str) -> None:
    """Say that the answer is wrong, in one sentence, unless the condition holds."""
    if not condition:
        raise Unlike(sentence)
