"""Evaluation: how many images of a split survive every attack that was tried."""

import dataclasses
import inspect
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from robustlib import attacks, checks, comparisons, ensemble, sanity
from robustlib.auto_pgd import apgd
from robustlib.batches import Attack, all_logits, broken_by, classes_of, predictions
from robustlib.ensemble import ENSEMBLES, Outcome, Problem
from robustlib.logits import logits_fn as as_logits_fn
from robustlib.report import AttackResult, RobustnessReport
from robustlib.threat import Threat

STANDARD_ATTACKS: Mapping[str, Attack] = {
    "FGSM": attacks.fgsm,
    "PGD-40, 10 restarts": partial(attacks.pgd, steps=40, restarts=10),
}


def accuracy(logits_fn: Any, split: Any) -> float:
    """Return the share of a split that the model classifies correctly, in [0, 1].

    Args:
        logits_fn: images [N, H, W, C] to logits [N, K]; see `robustlib.logits_fn`.
        split: with images float [N, H, W, C] in [0, 1] and labels int [N].

    Raises:
        TypeError, ValueError: the split or what logits_fn returns is of the wrong shape or type.
    """
    logits_fn = _checked(logits_fn, split)
    return float((predictions(logits_fn, split.images) == split.labels).mean())


def robust_accuracy(
    logits_fn: Any,
    split: Any,
    threat: Threat,
    key: jax.Array,
    *,
    attacks: Mapping[str, Attack] | None = None,
) -> float:
    """Return the share of a split that is classified correctly and that no attack breaks.

    An upper bound on the true robust accuracy: a stronger attack can only lower it.

    Args:
        logits_fn: images [N, H, W, C] to logits [N, K]; see `robustlib.logits_fn`.
        split: with images float [N, H, W, C] in [0, 1] and labels int [N].
        threat: `Linf`, `L2` or `L1`.
        key: one `jax.random.key`; example i of the split starts from `fold_in(key, i)`.
        attacks: by name, functions `(logits_fn, images, labels, threat, keys) -> images`;
            FGSM, and PGD with 40 steps and 10 restarts, if left out.

    Returns:
        A share in [0, 1].

    Raises:
        TypeError, ValueError: an argument is of the wrong type, shape or range.
    """
    logits_fn, chosen = _checked(logits_fn, split, threat, key), _checked_attacks(attacks)
    if isinstance(attacks, str):
        raise TypeError(
            f"attacks must be a dict from names to attacks, but is {attacks!r}: for an ensemble, "
            f"take evaluate_robustness(..., attacks={attacks!r}).robust_accuracy."
        )
    images, labels = np.asarray(split.images), np.asarray(split.labels, np.int32)
    correct = predictions(logits_fn, images) == labels
    for attack in chosen.values():
        correct &= ~broken_by(attack, logits_fn, images, labels, threat, key).broken
    return float(correct.mean())


def evaluate_robustness(
    logits_fn: Any,
    split: Any,
    threat: Threat,
    key: jax.Array,
    *,
    attacks: Mapping[str, Attack] | str | None = None,
    baseline: RobustnessReport | None = None,
    surrogate: Any = None,
    progress: bool = True,
) -> RobustnessReport:
    """Attack a split, and report what was found and what it cost.

    Attacks given by name are each run on every image. An ensemble runs each of its attacks on the
    images that those before it left: "standard" is Auto-PGD with cross-entropy (100 steps),
    targeted Auto-PGD with the DLR loss (100 steps, 9 targets) and Square Attack (5,000 queries);
    "quick" is a smaller set, for while you work. An interrupt ends an ensemble and keeps what was
    found, in a report marked as partial; a later one ends the search for flags.

    This is not the official AutoAttack: there is no FAB, and a run of Auto-PGD ends with its first
    success.

    Args:
        logits_fn: images [N, H, W, C] to logits [N, K]; see `robustlib.logits_fn`.
        split: with images float [N, H, W, C] in [0, 1] and labels int [N].
        threat: `Linf` or `L2`; `L1` too, without an ensemble.
        key: one `jax.random.key`; example i of the split starts from `fold_in(key, i)`.
        attacks: by name, functions `(logits_fn, images, labels, threat, keys) -> images`;
            FGSM, and PGD with 40 steps and 10 restarts, if left out.
            Or the name of an ensemble, "standard" or "quick".
        baseline: the report on an undefended model, same threat model, number of examples and
            attacks.
        surrogate: with an ensemble, another model of the same task, `images -> logits`: whether
            images made to fool that one break this one better than an attack on this one.
        progress: with an ensemble, show a bar: who is standing, and the time left.

    Returns:
        A `RobustnessReport`, shown as a table.

    Raises:
        TypeError, ValueError: an argument is of the wrong type, shape or range.
    """
    logits_fn, chosen = _checked(logits_fn, split, threat, key), _checked_attacks(attacks)
    if isinstance(attacks, str):
        checks.check_has_direction(threat)
    if surrogate is not None:
        surrogate = _checked(surrogate, split)
        if not isinstance(attacks, str):
            raise ValueError(
                "surrogate goes with an ensemble, which compares with it: pass attacks='standard' "
                "or attacks='quick', or leave it out."
            )
    if not isinstance(baseline, RobustnessReport | None):
        raise TypeError(
            f"baseline must be the report on an undefended model, but is {baseline!r}: pass what "
            "evaluate_robustness returned for it."
        )
    start = time.perf_counter()
    images, labels = np.asarray(split.images), np.asarray(split.labels, np.int32)
    # In the type that attacks give it, so that they and an ensemble share what is compiled.
    threat = type(threat)(jnp.asarray(threat.epsilon, jnp.result_type(images)))
    logits = all_logits(logits_fn, images)
    problem = Problem(logits_fn, images, labels, threat, logits)
    clean = classes_of(logits) == labels
    named = attacks if isinstance(attacks, str) else None
    if named:
        outcome = ensemble.attack(chosen, problem, clean, key, progress=progress)
    else:
        outcome = _one_by_one(chosen, problem, clean, key)
    flags = []
    try:
        for flag in _flags(problem, clean, chosen, outcome, key, surrogate, named, progress):
            flags.append(flag)
    except KeyboardInterrupt:
        flags.append(INTERRUPTED)
    except Exception as error:  # as a model without gradients raises; what was found is not lost
        what = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        flags.append(NOT_ALL_CHECKED.format(f"ended in an error ({what})"))
    report = RobustnessReport(
        threat=f"{threat.name}, epsilon {float(threat.epsilon):.4g}",
        seed=":".join(str(word) for word in np.asarray(jax.random.key_data(key)).ravel()),
        examples=len(labels),
        clean_correct=int(clean.sum()),
        robust_correct=int(outcome.standing.sum()),
        attacks=outcome.results,
        seconds=time.perf_counter() - start,
        ensemble=named,
        partial=outcome.partial,
    )
    flags += sanity.flag_baseline(report, baseline)
    comparable = sanity.is_comparable(report, baseline)
    undefended = baseline.robust_accuracy if comparable else None
    return dataclasses.replace(report, baseline=undefended, flags=tuple(flags))


NOT_ALL_CHECKED = (
    "The search for flags {}: what it had not come to may be wrong unnoticed. See 06_evaluation."
)
INTERRUPTED = NOT_ALL_CHECKED.format("was interrupted")


def _flags(problem, clean, chosen, outcome, key, surrogate, named, progress):
    """Yield a sentence for all that makes the numbers doubtful; the cheap questions come first.

    What needs no gradient comes before what does: a model may have none, which ends the search.
    """
    logits_fn, classes = problem.logits_fn, problem.logits.shape[1]
    yield from sanity.flag_outputs(problem.logits)
    yield from sanity.flag_unanswered(outcome.unanswered)
    yield from sanity.flag_left_out(outcome.left_out, classes)
    yield from sanity.flag_outside(outcome.unconfirmed)
    yield from sanity.flag_unsteady(logits_fn, problem)
    yield from sanity.flag_gradients(logits_fn, problem)
    if outcome.partial:
        return
    shares, n = _at_whole_box(STANDARD_ATTACKS if named else chosen, problem, clean, key)
    yield from sanity.flag_whole_box(shares, n, classes)
    if named:
        yield from comparisons.flags(problem, clean, key, surrogate, progress=progress)
    else:
        yield from comparisons.flag_weak_pgd(chosen, outcome.broken)


def _one_by_one(chosen, problem, clean, key) -> Outcome:
    """Run each of the attacks by name on every image."""
    logits_fn, images, labels, threat, _ = problem
    broken, results, outside, unanswered = {}, [], 0, 0
    for name, attack in chosen.items():
        start = time.perf_counter()
        verdict = broken_by(attack, logits_fn, images, labels, threat, key)
        seconds = time.perf_counter() - start
        broken[name] = clean & verdict.broken
        outside += int(verdict.outside.sum())
        unanswered += int(verdict.unanswered.sum())
        steps, restarts = steps_and_restarts(attack)
        told = None not in (steps, restarts)
        gradients = steps + sanity.is_made_of(attack, apgd) if told else None
        results.append(
            AttackResult(
                name,
                steps,
                restarts,
                correct=int((clean & ~broken[name]).sum()),
                seconds=seconds,
                gradient_passes=gradients * restarts * len(labels) if told else None,
            )
        )
    standing = clean & ~np.any([*broken.values()], axis=0)
    return Outcome(standing, tuple(results), outside, unanswered, (), False, broken)


def _at_whole_box(tried, problem, clean, key):
    """Return {attack: the share it leaves correct} where any image is allowed, and of how many."""
    n = len(clean)
    rows, keys = sanity.sampled_rows(n), checks.example_keys(key, n)
    box = type(problem.threat)(problem.threat.largest_epsilon(problem.images.shape))
    where = (problem.logits_fn, problem.images[rows], problem.labels[rows], box, keys[rows])

    def share(attacks):
        broken = [broken_by(attack, *where).broken for attack in attacks]
        return float((clean[rows] & ~np.any(broken, axis=0)).mean())

    shares = {
        " and ".join(tried): share(tried.values()),
        "gradient ascent from the images": share([sanity.ascent]),
    }
    return shares, len(rows)


def steps_and_restarts(attack: Attack) -> tuple[int | None, int | None]:
    """Return the steps and restarts an attack is set to take, None where it does not tell."""
    for one_step, count in ((attacks.noise, 0), (attacks.fgsm, 1)):
        if sanity.is_made_of(attack, one_step):
            return count, count
    keywords = inspect.signature(attack).parameters
    return tuple(
        keywords[name].default if name in keywords else None for name in ("steps", "restarts")
    )


def _checked(logits_fn, split, threat=None, key=None):
    checks.check_images(split.images)
    logits_fn = as_logits_fn(logits_fn)
    classes = checks.check_logits(logits_fn, split.images)
    checks.check_labels(split.labels, split.images, classes=classes)
    if threat is not None:
        checks.check_threat(threat, split.images.shape)
        checks.one_key(key)
    return logits_fn


def _checked_attacks(chosen):
    chosen = STANDARD_ATTACKS if chosen is None else chosen
    if isinstance(chosen, str):
        if chosen not in ENSEMBLES:
            raise ValueError(
                f"there is no ensemble {chosen!r}{checks.suggestion(chosen, list(ENSEMBLES))}: "
                f"choose one of {', '.join(map(repr, ENSEMBLES))}, or pass attacks by name."
            )
        return ENSEMBLES[chosen]
    named = isinstance(chosen, Mapping) and chosen and all(isinstance(name, str) for name in chosen)
    if not named or not all(map(callable, chosen.values())):
        raise TypeError(
            f"attacks must be a dict from names to attacks, but is {chosen!r}: "
            "pass {'FGSM': fgsm}, for example."
        )
    return chosen
