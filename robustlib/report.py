"""The report on an evaluation: the number, what stands behind it, and what it does not say."""

import html
import math
import re
from dataclasses import dataclass

_BOUND = (
    "Robust accuracy is an upper bound: a stronger attack can only lower it. The interval covers "
    "the choice of images, neither a weak attack nor the training seed."
)


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval for a share (Wilson, 1927).

    Args:
        successes: how many of the n, from 0 to n.
        n: how many were drawn, from 1.

    Returns:
        The lower and the upper end, in [0, 1].

    Raises:
        ValueError: not 0 <= successes <= n with n at least 1.
    """
    if not 0 <= successes <= n or n < 1:
        raise ValueError(
            f"successes must lie in [0, n] and n be at least 1, but are {successes} and {n}: "
            "pass counts, not shares."
        )
    z = 1.959963984540054  # the normal distribution's 97.5 % point
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # The interval holds the share itself; rounding must not push it out at 0 and n.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


@dataclass(frozen=True)
class AttackResult:
    """What one attack left standing, and what it cost.

    Attributes:
        name: as it was called in the evaluation.
        steps: gradient steps a restart; None where the attack does not tell.
        restarts: random starts; None where the attack does not tell.
        correct: images classified correctly before and after this attack; in an ensemble, after
            it and all before it.
        seconds: wall-clock time, compilation included.
        gradient_passes: at most so many forward-and-backward passes of one example; an attack that
            stops once all images of a batch are broken takes fewer. None where it does not tell.
        queries: forward passes of one example that an attack without gradients took.
        tried: images it was run on; None for all of them.
    """

    name: str
    steps: int | None
    restarts: int | None
    correct: int
    seconds: float
    gradient_passes: int | None
    queries: int = 0
    tried: int | None = None


@dataclass(frozen=True, repr=False)
class RobustnessReport:
    """The outcome of `evaluate_robustness`, shown as a table.

    Attributes:
        threat: the threat model, in words.
        seed: the words of the random key.
        examples: the number of images.
        clean_correct: images classified correctly.
        robust_correct: images classified correctly that no attack and no restart broke.
        attacks: what each attack did.
        seconds: wall-clock time in all, the search for flags included.
        baseline: robust accuracy of an undefended model under the same attacks, if given.
        flags: sentences on what makes the number doubtful; none is good.
        ensemble: the name of the set of attacks; None if they were chosen one by one.
        partial: whether it was interrupted.
    """

    threat: str
    seed: str
    examples: int
    clean_correct: int
    robust_correct: int
    attacks: tuple[AttackResult, ...]
    seconds: float
    baseline: float | None = None
    flags: tuple[str, ...] = ()
    ensemble: str | None = None
    partial: bool = False

    @property
    def clean_accuracy(self) -> float:
        """The share of images classified correctly, in [0, 1]."""
        return self.clean_correct / self.examples

    @property
    def robust_accuracy(self) -> float:
        """The share of images that no attack broke, in [0, 1]."""
        return self.robust_correct / self.examples

    @property
    def gradient_passes(self) -> int | None:
        """At most so many passes of one example, over all attacks; None if one does not tell."""
        passes = [attack.gradient_passes for attack in self.attacks]
        return None if None in passes else sum(passes)

    @property
    def queries(self) -> int:
        """Forward passes of one example by attacks without gradients."""
        return sum(attack.queries for attack in self.attacks)

    def _header(self) -> tuple[str, ...]:
        if self.ensemble is None:
            return ("attack", *_SHARE, "steps", "restarts", "seconds", _PASSES)
        return ("attack", "images", *_SHARE, "steps", "runs", "seconds", _PASSES, "queries")

    def _rows(self) -> list[tuple[str, ...]]:
        def row(name, tried, correct, *cost):
            low, high = wilson_interval(correct, self.examples)
            share = (f"{correct / self.examples:.1%}", f"{low:.1%} to {high:.1%}")
            *cost, queries = cost
            if self.ensemble is None:
                return (name, *share, *cost)
            return (name, _count(tried), *share, *cost, queries)

        rows = [row("clean", self.examples, self.clean_correct, *[""] * 5)]
        for a in self.attacks:
            cost = (_count(a.steps), _count(a.restarts), f"{a.seconds:.1f}")
            passes = (_count(a.gradient_passes), _count(a.queries))
            rows.append(row(a.name, a.tried, a.correct, *cost, *passes))
        cost = ("", "", f"{self.seconds:.1f}", _count(self.gradient_passes), _count(self.queries))
        return [*rows, row("robust (all attacks)", self.examples, self.robust_correct, *cost)]

    def _notes(self) -> list[str]:
        baseline = (
            []
            if self.baseline is None
            else [f"An undefended model under the same attacks: {self.baseline:.1%}."]
        )
        flags = [f"Flag: {flag}" for flag in self.flags] or ["No sanity flag is raised."]
        return [*self._about_the_ensemble(), *baseline, _BOUND, *flags]

    def _about_the_ensemble(self) -> list[str]:
        if self.ensemble is None:
            return []
        partial = ["Partial: the evaluation was interrupted."] if self.partial else []
        return [
            *partial,
            f"The {self.ensemble} ensemble of robustlib: each attack ran on the images that those "
            "above it left. It is not the official AutoAttack.",
        ]

    @property
    def _title(self) -> str:
        ensemble = f"{self.ensemble} ensemble, " if self.ensemble else ""
        partial = "PARTIAL, " if self.partial else ""
        return f"{partial}{ensemble}{self.threat}, {self.examples:,} images, seed {self.seed}"

    def __str__(self) -> str:
        table = [self._header(), *self._rows()]
        widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in table
        ]
        return "\n".join([self._title, *lines, *self._notes()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def line(tag, cells):
            return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in cells) + "</tr>"

        rows = "".join(line("td", row) for row in self._rows())
        notes = "".join(f"<p>{_linked(html.escape(note))}</p>" for note in self._notes())
        return (
            f"<table><caption>{html.escape(self._title)}</caption>"
            f"<thead>{line('th', self._header())}</thead><tbody>{rows}</tbody></table>{notes}"
        )


def _linked(note: str) -> str:
    """Return a note in which the name of a chapter is a link to the notebook beside this one."""
    return re.sub(r"See (\d\d_\w+)", r'See <a href="\1.ipynb">\1</a>', note)


def _count(n: int | None) -> str:
    return "unknown" if n is None else f"{n:,}"


_SHARE = ("accuracy", "95 % interval (Wilson)")
_PASSES = "gradient passes, at most"
