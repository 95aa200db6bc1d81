"""Ensembles of attacks, each of them only on the examples that those before it left standing.

This is an evaluation of the class of AutoAttack (Croce and Hein, 2020), not AutoAttack itself: it
leaves out FAB, starts and projects as `robustlib` does, and ends a run of Auto-PGD with its first
success.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from tqdm.std import tqdm

from robustlib import auto_pgd, square_attack
from robustlib.losses import cross_entropy, targeted_dlr
from robustlib.report import AttackResult
from robustlib.search import Problem, Search, nothing_found


@dataclass(frozen=True)
class AutoPGD:
    """Auto-PGD as a member of an ensemble: once, or once for each of the likeliest wrong classes.

    Attributes:
        name: as the report calls it.
        steps: gradient steps a run.
        targets: wrong classes to aim at; 0 for one run that aims at none.
        loss: from logits [N, K], labels [N] and, if there are targets, targets [N] to [N].
        least_classes: with fewer, the loss is not defined and the attack is left out.
    """

    name: str
    steps: int
    targets: int = 0
    loss: Callable[..., jax.Array] = cross_entropy
    least_classes: int = 2

    segment = 10  # gradients between two looks at who has fallen
    price = 2  # of a gradient, in forward passes: no weight needs one

    def runs(self, classes: int) -> int:
        """Return how often an example is attacked, if it does not fall."""
        return max(1, min(self.targets, classes - 1))

    def aims(self, logits, labels) -> np.ndarray:
        """Return the class that each run aims at, int [N, runs]."""
        if not self.targets:
            return np.asarray(labels)[:, None]
        return np.asarray(auto_pgd.likeliest_wrong(logits, labels))[:, : self.targets]

    def start(self, images, threat, keys):
        """Return the state of examples before their first step."""
        return auto_pgd.start(images, threat, keys)

    def advance(self, logits_fn, images, labels, aims, threat, keys, state):
        """Return the state one segment later, and bool [N], who is finished."""
        lengths = auto_pgd.checkpoints(self.steps)
        how = {"loss": self.loss, "targeted": self.targets > 0}
        where = (logits_fn, images, labels, aims, threat)
        state = auto_pgd.advance(*where, state, lengths, self.segment, **how)
        return state, auto_pgd.is_finished(state, lengths)

    @property
    def passes(self) -> int:
        """Gradients of one run: one a step, and a last look at where it led."""
        return self.steps + 1


@dataclass(frozen=True)
class Square:
    """Square Attack as a member of an ensemble.

    Attributes:
        name: as the report calls it.
        steps: queries an example.
    """

    name: str
    steps: int

    least_classes = 2
    segment = 50
    price = 1

    def runs(self, classes: int) -> int:
        """Return how often an example is attacked, if it does not fall."""
        return 1

    def aims(self, logits, labels) -> np.ndarray:
        """Return the labels: there is one run, and it aims at no class."""
        return np.asarray(labels)[:, None]

    def start(self, images, threat, keys):
        """Return the state of examples before their first query."""
        return square_attack.start(images, threat, keys)

    def advance(self, logits_fn, images, labels, aims, threat, keys, state):
        """Return the state one segment later, and bool [N], who is finished."""
        sides = square_attack.square_sides(self.steps, images.shape, threat)
        where = (logits_fn, images, labels, threat, keys)
        state = square_attack.advance(*where, state, sides, self.segment)
        return state, square_attack.is_finished(state, sides)

    @property
    def passes(self) -> int:
        """Forward passes of one run."""
        return self.steps


Member = AutoPGD | Square

_DLR = {"loss": targeted_dlr, "least_classes": 4}
# Cheapest per image broken first: cross-entropy by far. Of the two others now this one is cheaper,
# now that one, over the networks of results/ensembles.json; the gradient goes before the search.
ENSEMBLES: dict[str, tuple[Member, ...]] = {
    "standard": (
        AutoPGD("APGD-CE", steps=100),
        AutoPGD("APGD-T, DLR", steps=100, targets=9, **_DLR),
        Square("Square", steps=5000),
    ),
    "quick": (
        AutoPGD("APGD-CE", steps=30),
        AutoPGD("APGD-T, DLR", steps=50, targets=2, **_DLR),
        Square("Square", steps=800),
    ),
}


class Outcome(NamedTuple):
    """What an ensemble leaves.

    Attributes:
        standing: bool [N], classified correctly and not broken.
        results: one `AttackResult` for each attack that was begun.
        unconfirmed: adversarial examples that were found and did not pass the check.
        unanswered: adversarial examples for which a logit is NaN.
        left_out: names of attacks that need more classes than there are.
        partial: whether it was interrupted.
        broken: by the name of each attack that ran on all images, bool [N], which of those that
            were classified correctly it broke; empty for an ensemble.
    """

    standing: np.ndarray
    results: tuple[AttackResult, ...]
    unconfirmed: int
    unanswered: int
    left_out: tuple[str, ...]
    partial: bool
    broken: dict[str, np.ndarray]


def attack(members, problem: Problem, standing, key, *, progress: bool = True) -> Outcome:
    """Attack what stands, member by member; an interrupt ends it and keeps what was found.

    Args:
        members: the attacks, in their order.
        problem: what is attacked.
        standing: bool [N], the examples to begin with.
        key: one `jax.random.key`; member m folds in m, example i folds in i, run r folds in r.
        progress: show a bar with what is standing and the time left.
    """
    classes = problem.logits.shape[1]
    able = [member for member in members if classes >= member.least_classes]
    left_out = tuple(member.name for member in members if classes < member.least_classes)
    keys = [jax.random.fold_in(key, m) for m in range(len(able))]
    standing, results, partial = standing.copy(), [], False
    unconfirmed = unanswered = done = 0
    form = "{desc} |{bar}| {percentage:3.0f} %, {remaining} left"
    how = {"file": sys.stderr, "leave": False, "bar_format": form, "disable": not progress}
    with tqdm(total=1, **how) as bar:
        for m, member in enumerate(able):
            start, tried = time.perf_counter(), int(standing.sum())
            search = Search(member, problem, standing, keys[m])
            try:
                for _ in search.segments():
                    _show(bar, done, search, able[m + 1 :], classes)
                found, verdict = search.confirmed()
            except KeyboardInterrupt:
                partial, (found, verdict) = True, _confirmed_if_possible(search)
            standing[found[verdict.broken]] = False
            unconfirmed += int((~verdict.broken).sum())
            unanswered += int(verdict.unanswered.sum())
            done += search.passes * member.price
            seconds = time.perf_counter() - start
            results.append(
                AttackResult(
                    member.name,
                    member.steps,
                    member.runs(classes),
                    correct=int(standing.sum()),
                    seconds=seconds,
                    gradient_passes=search.passes if member.price > 1 else 0,
                    queries=search.passes if member.price == 1 else 0,
                    tried=tried,
                )
            )
            if partial:
                break
    return Outcome(standing, tuple(results), unconfirmed, unanswered, left_out, partial, {})


def _confirmed_if_possible(search):
    """Return what an interrupted search had found; nothing, if the second look is interrupted."""
    stopped = f"Stopped during {search.member.name}"
    try:
        found = search.confirmed()
    except KeyboardInterrupt:
        print(f"{stopped}, and again before what it found was checked: none of that is counted.")
        return nothing_found()
    print(f"{stopped}; what was found so far is kept.")
    return found


def _show(bar, done: int, search: Search, later, classes: int) -> None:
    """Show where a search is; the bar counts forward passes, `done` of them by earlier attacks."""
    member, standing = search.member, search.standing
    now = done + search.passes * member.price
    bar.total = now + search.left * member.price
    bar.total += sum(standing * m.runs(classes) * m.passes * m.price for m in later)
    bar.set_description_str(f"{member.name}: {standing:,} standing", refresh=False)
    bar.update(now - bar.n)
