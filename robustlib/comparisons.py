"""Flags from comparisons: one attack should break more than another, and does it?

All attacks of a comparison run on the same images, each random one with a key of its own. A
difference counts when its exact interval lies above half a percentage point.
"""

import sys
from collections.abc import Iterator
from functools import partial
from itertools import count, product

import jax
import numpy as np
from scipy.special import betaincinv
from tqdm.std import tqdm

from robustlib import checks
from robustlib.attacks import fgsm, pgd
from robustlib.auto_pgd import apgd
from robustlib.batches import broken_by
from robustlib.losses import dlr
from robustlib.sanity import is_made_of
from robustlib.square_attack import square

IMAGES = 400
LEAST_DIFFERENCE = 0.005


def paired_interval(only_a: int, only_b: int, n: int) -> tuple[float, float]:
    """Return a 95 % interval of how much more often A happens than B in n pairs.

    It covers the difference of the two shares in at least 95 % of samples, whatever they are: each
    of the two gets its exact interval (Clopper and Pearson, 1934) at 97.5 %, and the lower end of
    one is laid against the upper end of the other (Bonferroni's inequality).

    Args:
        only_a: pairs in which A happens and B does not.
        only_b: pairs in which B happens and A does not.
        n: all pairs, from 1.

    Returns:
        The lower and the upper end, in [-1, 1].

    Raises:
        ValueError: the counts are negative, or together more than n; or n is 0.
    """
    if not (only_a >= 0 and only_b >= 0 and 1 <= n >= only_a + only_b):
        raise ValueError(
            f"only_a and only_b must be counts of n pairs, but are {only_a} and {only_b} of {n}: "
            "count each pair at most once."
        )
    (low_a, high_a), (low_b, high_b) = (_exact_interval(only, n) for only in (only_a, only_b))
    return low_a - high_b, high_a - low_b


def _exact_interval(count, n, risk=0.025):
    """Return the ends of Clopper and Pearson's interval: quantiles of beta distributions."""
    low = betaincinv(count, n - count + 1, risk / 2) if count > 0 else 0.0
    high = betaincinv(count + 1, n - count, 1 - risk / 2) if count < n else 1.0
    return float(low), float(high)


def flags(problem, clean, key, surrogate=None, *, progress: bool = False) -> Iterator[str]:
    """Yield a sentence for each comparison that comes out the wrong way round.

    Args:
        problem: what is attacked, as the ensemble has it.
        clean: bool [N], who is classified correctly.
        key: one `jax.random.key`.
        surrogate: another model of the same task, for the comparison with transfer.
        progress: show a bar.
    """
    correct = np.flatnonzero(clean)
    n = min(len(correct), IMAGES)
    if not n:
        return
    few = correct[np.arange(n) * len(correct) // n]
    how = {"desc": "comparing attacks", "file": sys.stderr, "leave": False, "disable": not progress}
    pairs = _pairs(problem, few, key, surrogate)
    for weaker, stronger, meaning in tqdm(pairs, total=4 + (surrogate is not None), **how):
        yield from _sentence(*weaker, *stronger, meaning)


def _pairs(problem, few, key, surrogate):
    """Yield ((name, broken), (name, broken), meaning): the first should not break more."""
    logits_fn, images, labels, threat, logits = problem
    of_all, images, labels = len(images), images[few], labels[few]
    keys = (jax.random.fold_in(key, 1_000_000 + i) for i in count())

    def broken(attack, threat=threat, **how):
        attack, own_keys = partial(attack, **how), checks.example_keys(next(keys), of_all)[few]
        return broken_by(attack, logits_fn, images, labels, threat, own_keys).broken

    def transferred(_, *where):
        # Auto-PGD would stop where the surrogate is just fooled, and such images fool few others.
        return pgd(surrogate, *where, steps=50)

    def auto():
        losses = {"loss": dlr} if logits.shape[1] >= 3 else {}
        return broken(apgd, steps=100) | broken(apgd, steps=100, **losses)

    # Any two searches find different images. What counts is whether the other kind finds more of
    # those that Auto-PGD left than Auto-PGD finds of them when it is run once more.
    left = ~auto()
    if left.any():
        again = "Auto-PGD run once more", auto() & left
        by_square = broken(square, queries=1500) & left
        weaker = "After Auto-PGD, Square Attack, which asks for no gradient, still", by_square
        yield weaker, again, "the gradients hide what is there. See 07_gradient_masking"
        if surrogate is not None:
            other = "After Auto-PGD, an attack on another model still", broken(transferred) & left
            yield other, again, "the gradients mislead. See 07_gradient_masking"
    steps = [(f"Auto-PGD with {n} steps", broken(apgd, steps=n)) for n in (10, 100)]
    yield *steps, "more steps do not help it. See 06_evaluation"
    starts = [(f"Auto-PGD with {n} starts", broken(apgd, steps=20, restarts=n)) for n in (1, 5)]
    yield *starts, "more restarts do not help it. See 06_evaluation"
    larger = type(threat)(min(1.5 * threat.epsilon, threat.largest_epsilon(images.shape)))
    sizes = [
        (f"Auto-PGD with epsilon {float(size.epsilon):.3g}", broken(apgd, size, steps=50))
        for size in (threat, larger)
    ]
    yield *sizes, "a larger epsilon helps the defender. See 06_evaluation"


def flag_weak_pgd(chosen, broken) -> Iterator[str]:
    """Yield a sentence for each PGD that breaks fewer images than FGSM does in one step.

    Args:
        chosen: the attacks, by name.
        broken: by name, bool [N], what each of them broke of the images read correctly.
    """
    slow, quick = (
        [name for name, attack in chosen.items() if is_made_of(attack, function)]
        for function in (pgd, fgsm)
    )
    for one_step, many in product(quick, slow):
        meaning = "PGD is set badly, or the gradients mislead it. See 06_evaluation"
        yield from _sentence(one_step, broken[one_step], many, broken[many], meaning)


def _sentence(weaker, by_weaker, stronger, by_stronger, meaning):
    n = len(by_weaker)
    only_weaker = int((by_weaker & ~by_stronger).sum())
    low, high = paired_interval(only_weaker, int((by_stronger & ~by_weaker).sum()), n)
    if low > LEAST_DIFFERENCE:
        yield (
            f"{weaker} breaks {by_weaker.sum()} of {n} images and {stronger} {by_stronger.sum()} "
            f"(a difference of {low:.1%} to {high:.1%}): {meaning}."
        )
