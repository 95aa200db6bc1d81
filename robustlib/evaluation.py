"""Evaluation: how many images of a split survive every attack that was tried."""

import dataclasses
import inspect
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from robustlib import attacks, checks, sanity
from robustlib.logits import logits_fn as as_logits_fn
from robustlib.report import AttackResult, RobustnessReport
from robustlib.threat import Threat

Attack = Callable[..., jax.Array]

BATCH_SIZE = 200
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
        threat: `Linf` or `L2`.
        key: one `jax.random.key`; example i of the split starts from `fold_in(key, i)`.
        attacks: by name, functions `(logits_fn, images, labels, threat, keys) -> images`;
            FGSM, and PGD with 40 steps and 10 restarts, if left out.

    Returns:
        A share in [0, 1].

    Raises:
        TypeError, ValueError: an argument is of the wrong type, shape or range.
    """
    logits_fn, chosen = _checked(logits_fn, split, threat, key), _checked_attacks(attacks)
    correct = predictions(logits_fn, split.images) == split.labels
    for attack in chosen.values():
        broken, _ = broken_by(attack, logits_fn, split, threat, key)
        correct &= ~broken
    return float(correct.mean())


def evaluate_robustness(
    logits_fn: Any,
    split: Any,
    threat: Threat,
    key: jax.Array,
    *,
    attacks: Mapping[str, Attack] | None = None,
    baseline: RobustnessReport | None = None,
) -> RobustnessReport:
    """Attack every image of a split with every attack, and report what was found and what it cost.

    Args:
        logits_fn: images [N, H, W, C] to logits [N, K]; see `robustlib.logits_fn`.
        split: with images float [N, H, W, C] in [0, 1] and labels int [N].
        threat: `Linf` or `L2`.
        key: one `jax.random.key`; example i of the split starts from `fold_in(key, i)`.
        attacks: by name, functions `(logits_fn, images, labels, threat, keys) -> images`;
            FGSM, and PGD with 40 steps and 10 restarts, if left out.
        baseline: the report on an undefended model, same threat model, number of examples and
            attacks.

    Returns:
        A `RobustnessReport`, shown as a table.

    Raises:
        TypeError, ValueError: an argument is of the wrong type, shape or range.
    """
    logits_fn, chosen = _checked(logits_fn, split, threat, key), _checked_attacks(attacks)
    if not isinstance(baseline, RobustnessReport | None):
        raise TypeError(
            f"baseline must be the report on an undefended model, but is {baseline!r}: pass what "
            "evaluate_robustness returned for it."
        )
    start = time.perf_counter()
    logits = predictions(logits_fn, split.images, of=lambda logits: logits)
    clean = logits.argmax(axis=1) == split.labels
    standing, results, outside = clean.copy(), [], 0
    for name, attack in chosen.items():
        attack_start = time.perf_counter()
        broken, invalid = broken_by(attack, logits_fn, split, threat, key)
        seconds = time.perf_counter() - attack_start
        standing &= ~broken
        outside += int(invalid.sum())
        steps, restarts = steps_and_restarts(attack)
        told = None not in (steps, restarts)
        results.append(
            AttackResult(
                name,
                steps,
                restarts,
                correct=int((clean & ~broken).sum()),
                seconds=seconds,
                gradient_passes=steps * restarts * len(split.labels) if told else None,
            )
        )
    report = RobustnessReport(
        threat=f"{threat.name}, epsilon {float(threat.epsilon):.4g}",
        seed=":".join(str(word) for word in np.asarray(jax.random.key_data(key)).ravel()),
        examples=len(split.labels),
        clean_correct=int(clean.sum()),
        robust_correct=int(standing.sum()),
        attacks=tuple(results),
        seconds=time.perf_counter() - start,
    )
    few = sanity.sample(split)
    box = type(threat)(threat.largest_epsilon(split.images.shape))
    at_whole_box = {
        name: robust_accuracy(logits_fn, few, box, key, attacks=tried)
        for name, tried in (
            ("the attacks together leave", chosen),
            ("gradient ascent from the images leaves", {"ascent": sanity.ascent}),
        )
    }
    flags = [
        *sanity.flag_outputs(logits),
        *sanity.flag_gradients(logits_fn, split),
        *sanity.flag_weak_pgd(chosen, results),
        *sanity.flag_whole_box(at_whole_box, len(few.labels), logits.shape[1]),
        *sanity.flag_outside(outside),
        *sanity.flag_baseline(report, baseline),
    ]
    comparable = sanity.is_comparable(report, baseline)
    undefended = baseline.robust_accuracy if comparable else None
    return dataclasses.replace(report, baseline=undefended, flags=tuple(flags))


# ---- running over a split ------------------------------------------------------------------------


def predictions(logits_fn, images, of=lambda logits: logits.argmax(axis=1)) -> np.ndarray:
    """Return the predicted classes int [N] (or another function `of` the logits), in batches."""
    parts = [of(np.asarray(_forward(logits_fn, batch)))[:n] for batch, n in _padded(images)]
    return np.concatenate(parts)


def broken_by(attack, logits_fn, split, threat, key) -> tuple[np.ndarray, np.ndarray]:
    """Attack a whole split in batches of one size, the start of each example its own.

    Returns:
        broken: bool [N], where the attack's image is misclassified (on a forward pass of its own),
            inside ball and box.
        outside: bool [N], where the attack's image is outside ball or box. It is not counted.
    """
    keys = checks.example_keys(key, len(split.labels))
    broken, outside = [], []
    for images, labels, batch_keys, n in zip(
        *([part for part, _ in _padded(array)] for array in (split.images, split.labels, keys)),
        (n for _, n in _padded(split.labels)),
        strict=True,
    ):
        adversarial = attack(logits_fn, images, labels, threat, batch_keys)
        inside = threat.contains(images, adversarial)
        wrong = np.asarray(_forward(logits_fn, adversarial)).argmax(axis=1) != labels
        broken.append((wrong & inside)[:n])
        outside.append(~inside[:n])
    return np.concatenate(broken), np.concatenate(outside)


def _padded(array):
    """Yield (batch, number of real rows); the last batch is filled up with copies of its first."""
    for start in range(0, len(array), BATCH_SIZE):
        batch = array[start : start + BATCH_SIZE]
        n = len(batch)
        if n < BATCH_SIZE and len(array) > BATCH_SIZE:
            index = np.concatenate([np.arange(n), np.zeros(BATCH_SIZE - n, int)])
            batch = batch[index]
        yield batch, n


@jax.jit
def _forward(logits_fn, images):
    return logits_fn(images)


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
    if not isinstance(chosen, Mapping) or not chosen:
        raise TypeError(
            f"attacks must be a dict from names to attacks, but is {chosen!r}: "
            "pass {'FGSM': fgsm}, for example."
        )
    return chosen
