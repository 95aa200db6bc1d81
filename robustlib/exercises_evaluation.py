"""Checkers for the exercises of the chapters that measure robustness: see `robustlib.exercises`."""

import jax
import jax.numpy as jnp
import numpy as np

from robustlib.losses import dlr, margin
from robustlib.verdicts import Unlike, array_of, call, checker, expect

# ---- chapter 6 ---


def _by_rule(clean, misread):
    """Return the robust accuracy, and (mistake, sentence) for likely mistakes."""
    n, survives = len(clean), clean & ~misread
    standing = survives.all(axis=0)
    batches = survives.reshape(len(misread), -1, 50).sum(axis=2).min(axis=0)
    return standing.mean(), (
        (survives.mean(), "this is the average of the attacks: the attacker uses them all."),
        (survives.mean(axis=1).min(), "this is the strongest attack alone: others break others."),
        (batches.sum() / n, "this is the best of each batch: go image by image."),
        ((~misread).all(axis=0).mean(), "an image that is misread before any attack counts too."),
        (survives.any(axis=0).mean(), "it is not enough to survive one attack: all of them."),
        (clean.mean(), "this is the clean accuracy: where are the attacks?"),
        (1 - standing.mean(), "this is the share that falls: return the share that stands."),
        ((clean & ~standing).mean(), "these are the images that an attack broke."),
        (standing[clean].mean(), "divide by all images, the misread ones included."),
        (standing.sum(), "this is a number of images: return their share."),
    )


@checker(right="one success of one attack is enough, and a misread image was never robust.")
def check_robust_share(answer, rng):
    """Check the robust accuracy of clean [N] and misread [A, N], the worst case of each image."""
    for _ in range(2):  # one number may be right by chance
        values, n = [], 50 * rng.integers(20, 100)
        while len({round(float(value), 6) for value in values}) < 11:  # until all rules differ
            clean = rng.random(n) < rng.uniform(0.8, 0.9)
            misread = rng.random((3, n)) < rng.uniform(0.3, 0.5, (3, 1))
            misread |= ~clean & (rng.random((3, n)) < 0.3)  # an attack may mend an error
            right, rules = _by_rule(clean, misread)
            values = [right, *(mistake for mistake, _ in rules)]
        found = array_of(call(answer, clean, misread), ())
        for mistake, sentence in rules:
            expect(not np.isclose(found, mistake), sentence)
        expect(np.isclose(found, right), f"{found:.4f} was given, where {right:.4f} was expected.")


def _logits(rng):
    """Return logits [9, K] and labels [9]: some ranks of the true class, and a row of equals."""
    logits = rng.normal(scale=3, size=(9, rng.integers(7, 12)))
    labels = (-logits).argsort(axis=1)[np.arange(9), [0, 0, 0, 1, 1, 2, 3, 5, 5]]
    logits[8] = rng.normal()
    logits[[1, 4]] *= 1e-3  # the ratio stays, unless more than a tiny number is added below
    return logits.astype(np.float32), labels


@checker(right="no factor and no shift of the logits changes it.")
def check_dlr(answer, rng):
    """Check the difference of logits ratio [N] of logits [N, K] and labels [N]."""
    logits, labels = _logits(rng)
    with np.errstate(all="ignore"):
        result = call(answer, jnp.asarray(logits), jnp.asarray(labels))
    if getattr(result, "dtype", None) in (np.float32, np.float64) and result.shape == (9,):
        sentence = "the last image has all logits equal: a tiny number below saves the division."
        expect(not np.isfinite(result[:8]).all() or np.isfinite(result[8]), sentence)
    found = array_of(result, (9,))
    ordered, lead = np.sort(logits)[:, ::-1], np.asarray(margin(logits, labels))
    own = logits[np.arange(9), labels]
    spread = ordered[:, 0] - ordered[:, 2] + 1e-12
    p = np.asarray(jax.nn.softmax(logits))
    ranked = np.sort(p)[:, ::-1]
    by_softmax = np.asarray(margin(p, labels)) / (ranked[:, 0] - ranked[:, 2] + 1e-12)
    for mistake, sentence in (
        (labels, "these are the labels that were given."),
        (lead, "this is the margin alone: divide by the spread of the logits."),
        (-lead / spread, "the sign is turned: positive where the image is misread."),
        (lead / (ordered[:, 0] - ordered[:, 1] + 1e-12), "below, subtract the third, not the 2nd."),
        (lead / (ordered[:, 0] - ordered[:, -1] + 1e-12), "that is the smallest, not the third."),
        (lead / (ordered[:, 0] - ordered[:, 3] + 1e-12), "below, the third, not the fourth."),
        ((ordered[:, 0] - own) / spread, "above, the best *other* class: leave the label out."),
        ((ordered[:, 1] - own) / spread, "above, the second may be the label itself."),
        (by_softmax, "these are ratios of probabilities: use the logits themselves."),
        (lead / (spread + 1e-3), "the number below is too large for a network that speaks softly."),
    ):
        expect(not np.allclose(found[:8], mistake[:8], rtol=1e-3, atol=1e-4), sentence)
    right = np.asarray(dlr(logits, labels))
    i = np.abs(found - right).argmax()
    sentence = f"image {i} has {found[i]:.4f}, where {right[i]:.4f} was expected."
    expect(np.allclose(found, right, rtol=1e-3, atol=1e-4), sentence)


def _positions(first=22, less=3, least=6, start=0):
    """Yield the checkpoints in hundredths of all steps."""
    before, interval = start, first
    while before + interval <= 100 and interval > 0:
        before += interval
        yield before
        interval = max(interval - less, least)


def _ceil(hundredths, steps):
    return [-(-p * steps // 100) for p in hundredths]


def _in_floats(steps):
    before, now, ends = 0.0, 0.22, []
    while now <= 1:
        ends.append(int(np.ceil(now * steps)))
        before, now = now, now + max(now - before - 0.03, 0.06)
    return ends


@checker(right="more and more often, never less than six hundredths apart.")
def check_checkpoints(answer, rng):
    """Check the steps at which Auto-PGD looks back, ascending, for some numbers of steps."""
    rounded = [n for n in range(60, 400) if _in_floats(n) != _ceil(_positions(), n)]
    for steps in (int(rng.integers(110, 200)), 100, int(rng.choice(rounded))):
        right = _ceil(_positions(), steps)
        result = call(answer, steps)
        try:
            found = [int(step) for step in result]
        except (TypeError, ValueError):
            raise Unlike(
                f"a {type(result).__name__} was returned: return a list of whole numbers."
            ) from None
        for mistake, sentence in (
            ([0, *right], "the start is no checkpoint: leave step 0 out."),
            ([p * steps // 100 for p in _positions()], "you rounded down: take the next step up."),
            (np.diff([0, *right]).tolist(), "these are the distances: add them up."),
            (_ceil(_positions(least=0), steps), "an interval is never shorter than 0.06."),
            (_ceil(_positions(less=0, least=22), steps), "each interval is 0.03 shorter."),
            (_ceil(_positions(less=-3), steps), "the intervals get shorter, not longer."),
            (list(_positions()), "these are hundredths: of how many steps?"),
        ):
            expect(found != mistake or found == right, sentence)
        sentence = f"for {steps} steps {found[:9]} was given, {right} expected"
        if found == _in_floats(steps):
            sentence += ": a sum of decimals lies a hair above a whole number, so count hundredths."
        expect(found == right, sentence)
