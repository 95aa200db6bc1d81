"""Checkers for the exercises of the chapter on the browser: see `robustlib.exercises`."""

import warnings

import numpy as np

from robustlib.verdicts import array_of, call, checker, expect


@checker(right="probabilities minus one at the label, for loud logits too.")
def check_logit_gradient(answer, rng):
    """Check the gradient [N, K] of each image's cross-entropy with respect to its logits."""
    logits, labels = rng.normal(scale=2, size=(8, 5)), rng.integers(0, 5, 8)
    logits[6:] += 1000
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    p, at_label = powers / powers.sum(axis=1, keepdims=True), np.eye(5)[labels]
    with np.errstate(all="ignore"):
        result = call(answer, logits, labels)
    kind = getattr(getattr(result, "dtype", None), "kind", None)
    if getattr(result, "shape", None) == logits.shape and kind == "f":
        sentence = "logits of a thousand overflow: lower all of an image's logits alike, first."
        expect(not np.isfinite(result[:6]).all() or np.isfinite(result).all(), sentence)
    found, right = array_of(result, logits.shape), p - at_label
    for mistake, sentence in (
        (logits, "these are the logits that were given."),
        (p, "these are the probabilities: what does the label change?"),
        (-right, "the sign is turned: at the label the loss falls."),
        (right / 8, "that is the mean over the images: each image has its own loss."),
        (right * at_label, "only the label's logit: the others have a gradient as well."),
        (at_label, "these are ones at the labels: where are the probabilities?"),
    ):
        expect(not np.allclose(found, mistake, rtol=1e-4, atol=1e-6), sentence)
    i, j = np.unravel_index(np.abs(found - right).argmax(), right.shape)
    sentence = f"image {i}, class {j}: {found[i, j]:.4f} was given, {right[i, j]:.4f} expected."
    expect(np.allclose(found, right, rtol=1e-4, atol=1e-6), sentence)


@checker(right="a quarter was read along each weight, and a quarter is paid back.")
def check_mean_pool_back(answer, rng):
    """Check the gradient [N, 2 H, 2 W, C] through means of 2 x 2 pixels, from [N, H, W, C]."""
    gradient = rng.normal(size=(2, 3, 3, 2))
    whole = gradient.repeat(2, axis=1).repeat(2, axis=2)
    right, corner = whole / 4, np.zeros_like(whole)
    corner[:, ::2, ::2] = gradient
    found = array_of(call(answer, gradient), whole.shape)
    for mistake, sentence in (
        (whole, "each pixel went into the mean with a weight of a quarter."),
        (whole / 2, "that is a half: four pixels share a mean."),
        (corner, "one pixel of each square gets it all: four went into the mean."),
        (np.tile(gradient, (1, 2, 2, 1)) / 4, "tiled: the four pixels of a mean are neighbours."),
        (np.swapaxes(right, 1, 2), "rows and columns are exchanged."),
        (-right, "the sign is turned."),
    ):
        expect(not np.allclose(found, mistake), sentence)
    n = int((~np.isclose(found, right)).sum())
    expect(n == 0, f"{n} of {right.size} entries are not a quarter of their square's gradient.")


@checker(right="one byte a weight, and none is off by more than half a unit.")
def check_in_bytes(answer, rng):
    """Check weights [D] as whole multiples, int8 [D], of their largest absolute value / 127."""
    weights = rng.normal(scale=0.1, size=50)
    weights[3] = -(np.abs(weights).max() + 0.05)  # the largest is a negative one
    result = call(answer, weights)
    found, largest = array_of(result, weights.shape), np.abs(weights).max()
    exact = 127 * weights / largest
    for mistake, sentence in (
        (weights, "these are the weights that were given."),
        (exact, "these are no whole numbers yet: round them."),
        (np.trunc(exact), "the multiples were cut off: round them."),
        (np.floor(exact), "the multiples were rounded down: round to the nearest."),
        (np.round(127 * weights / weights.max()).clip(-128, 127), "the largest is a negative one."),
        (np.round(127 * weights), "divide by the largest absolute value first."),
        (np.round(exact) * largest / 127, "these are weights again: return the multiples."),
    ):
        expect(not np.allclose(found, mistake), sentence)
    worst = np.abs(found - exact).max()
    expect(worst < 0.501, f"a multiple is off by {worst:.2f}, where a half is the most.")
    kind = np.asarray(result).dtype
    expect(kind == np.int8, f"the numbers are right, but each is {kind}: make it int8.")
    with np.errstate(all="warn"), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        zeros = array_of(call(answer, np.zeros(4)), (4,))
    of_nan = any("invalid value encountered in cast" in str(warning.message) for warning in said)
    sentence = (
        "if all weights are zero, it is 0 / 0 that becomes a byte: which one is anyone's guess."
    )
    expect(not of_nan, sentence)
    expect(not zeros.any(), "weights of zero have multiples of zero.")
