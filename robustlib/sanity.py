"""Sanity flags: what makes a robustness number doubtful, each in one sentence.

Each function yields its sentence where it applies, or nothing. It ends with the file name of the
chapter that explains it, which the report shows as a link.
"""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from robustlib import attacks
from robustlib.logits import forward

_SAMPLE = 200
_MANY_ZERO_GRADIENTS = 0.01
_EXPLODING = 1e4  # one grey level would change the loss by about 40
_UNSTEADY = 1e-3  # of the largest logit; rounding is a thousand times smaller


class Sample(NamedTuple):
    """Images [n, H, W, C] and their labels [n]."""

    images: np.ndarray
    labels: np.ndarray


def sampled_rows(n: int) -> np.ndarray:
    """Return the indices of up to 200 of n examples, evenly spread."""
    few = min(n, _SAMPLE)
    return np.arange(few) * n // few


def sample(split) -> Sample:
    """Return up to 200 images, evenly spread over the split."""
    rows = sampled_rows(len(split.labels))
    return Sample(split.images[rows], split.labels[rows])


def flag_outputs(logits):
    """Outputs that are no logits: not finite, or probabilities."""
    finite = logits[np.isfinite(logits).all(axis=1)]
    if len(finite) < len(logits):
        yield "The model returns NaN or infinite logits for some images. See 06_evaluation."
    if len(finite) and (finite >= 0).all() and np.allclose(finite.sum(axis=1), 1, atol=1e-3):
        yield (
            "The outputs look like probabilities, not logits: a softmax before the loss flattens "
            "the gradients that the attacks follow. See 06_evaluation."
        )


def flag_unanswered(unanswered):
    """Adversarial images for which there is no answer."""
    if unanswered:
        yield (
            f"For {unanswered} adversarial images a logit is NaN: no answer, so they count as "
            "broken. See 06_evaluation."
        )


def flag_gradients(logits_fn, split):
    """Gradients that are not finite, or zero for over 1 % of the images."""
    images, labels = sample(split)
    n = len(labels)
    gradients = np.asarray(_gradients(logits_fn, images, labels))
    finite = np.isfinite(gradients).all(axis=(1, 2, 3))
    zero = finite & (gradients == 0).all(axis=(1, 2, 3))
    if not finite.all():
        yield (
            f"The gradient is NaN or infinite for {(~finite).sum()} of {n} sampled images; attacks "
            "take a NaN for zero. See 06_evaluation."
        )
    exploding = finite & (np.abs(gradients).max(axis=(1, 2, 3)) > _EXPLODING)
    if exploding.mean() > _MANY_ZERO_GRADIENTS:
        yield (
            f"The gradient explodes for {exploding.sum()} of {n} sampled images, so a step along "
            "it says nothing about the loss a step away. See 06_evaluation."
        )
    if zero.mean() > _MANY_ZERO_GRADIENTS:
        yield (
            f"The gradient is zero for {zero.sum()} of {n} sampled images, so gradient attacks "
            "cannot move them. See 07_gradient_masking."
        )


def flag_unsteady(logits_fn, split):
    """Outputs that differ from call to call, or with the company an image is in."""
    images = sample(split).images
    once, again = (np.asarray(forward(logits_fn, images)) for _ in range(2))
    alone = [
        np.asarray(forward(logits_fn, images[i : i + 1]))[0] for i in range(min(8, len(images)))
    ]
    scale = np.abs(once[np.isfinite(once)]).max(initial=0)
    same = partial(np.allclose, rtol=0, atol=_UNSTEADY * scale, equal_nan=True)
    if not same(again, once):
        yield (
            "The model is randomised: two calls with the same images give other logits, and a "
            "single attack says little about it. See 07_gradient_masking."
        )
    elif not same(alone, once[: len(alone)]):
        yield (
            "The outputs depend on the batch: an image alone has other logits than in company, as "
            "with batch statistics that are not frozen. See 09_bug_museum."
        )


def flag_left_out(names, classes):
    """Attacks that an ensemble left out."""
    if names:
        yield (
            f"{' and '.join(names)} needs more than the {classes} classes there are, and was left "
            "out: the ensemble is weaker for it. See 06_evaluation."
        )


@jax.jit
def _gradients(logits_fn, images, labels):
    return attacks.image_gradient(logits_fn, images, labels)[0]


def is_made_of(attack, function):
    """Return whether an attack is this function, or a partial of it."""
    return getattr(attack, "func", attack) is function


def ascent(logits_fn, images, labels, threat, keys):
    """Follow the gradient from the images themselves: a random start could not be misled by it."""
    return _ascent(logits_fn, images, labels, threat)


@jax.jit
def _ascent(logits_fn, images, labels, threat):
    size = 2.5 * threat.epsilon / 20
    return attacks.ascend(logits_fn, images, labels, threat, images, steps=20, step_size=size)


def flag_whole_box(shares, n, classes):
    """With the whole box to choose from, an attack can reach an image of any class.

    Args:
        shares: by the name of what attacked, the share of images that it left correct there.
        n: the number of images sampled.
        classes: the number of classes.
    """
    for attack, share in shares.items():
        if share > 1 / classes + 0.1:
            yield (
                f"With epsilon as large as the whole box, {share:.0%} of {n} sampled images are "
                f"still correct after {attack}, where chance is {1 / classes:.0%}: this attack "
                "fails. See 07_gradient_masking."
            )


def flag_outside(outside):
    """Adversarial images that do not count."""
    if outside:
        yield (
            f"{outside} adversarial images did not pass the check (inside ball and box, and in an "
            "ensemble misclassified a second time); they were not counted. See 09_bug_museum."
        )


def flag_baseline(report, baseline):
    """No undefended model to compare with, or one that was evaluated otherwise."""
    if baseline is None:
        yield (
            "No undefended model was evaluated beside this one: pass its report as `baseline`, to "
            "see what the same attacks do to it. See 06_evaluation."
        )
    elif report.partial or baseline.partial:
        yield (
            "This evaluation or that of the baseline was interrupted, so the two cannot be "
            "compared: run both to the end. See 06_evaluation."
        )
    elif not is_comparable(report, baseline):
        yield (
            "The baseline was evaluated under another threat model, on another number of images "
            f"or with other attacks ({baseline.threat}, {baseline.examples} images, "
            f"{', '.join(attack.name for attack in baseline.attacks)}): do it in the same "
            "way. See 06_evaluation."
        )


def is_comparable(report, baseline):
    """Return whether there is a baseline, evaluated in the same way as the report, both wholly."""

    def how(report):
        attacks = [(attack.name, attack.steps, attack.restarts) for attack in report.attacks]
        return report.threat, report.examples, attacks, report.partial

    return baseline is not None and how(baseline) == how(report) and not report.partial
