"""Each sanity flag lights up on a model or an attack made for it, and stays dark otherwise."""

import dataclasses
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import robustlib
from robustlib import L2, Linf, fgsm, pgd, sanity
from tests.properties import first


def probabilities(f, images):
    return jax.nn.softmax(f(images))


def infinite_slope(f, images):
    """The square root has an infinite slope at 0, where most of MNIST's pixels lie."""
    return f(images) + 0.0 * jnp.sqrt(images).sum((1, 2))


def in_steps(f, images):
    """Pixels rounded to four levels, as a defence would: the gradient is zero everywhere."""
    return f(jnp.round(3 * images) / 3)


def backwards(f, images):
    """The logits of the network, the gradient turned around."""
    return 2 * jax.lax.stop_gradient(f(images)) - f(images)


def unmoved(f, images, labels, threat, keys):
    return images


def outside(f, images, labels, threat, keys):
    return jnp.clip(images + 2 * threat.epsilon, 0, 1)


HONEST = {"FGSM": fgsm, "PGD": partial(pgd, steps=5)}


@pytest.fixture(scope="module")
def evaluate(cnn):
    images, labels = first(cnn, 200)
    split, inner = SimpleNamespace(images=images, labels=labels), robustlib.logits_fn(cnn.state)

    def flags(model=None, attacks=HONEST, epsilon=0.1, **how):
        f = inner if model is None else robustlib.logits_fn(model, inner)
        return robustlib.evaluate_robustness(
            f, split, Linf(epsilon), jax.random.key(0), attacks=attacks, **how
        )

    return flags


@pytest.fixture(scope="module")
def honest(evaluate):
    return evaluate()


def test_an_honest_evaluation_raises_no_flag(evaluate, honest):
    assert evaluate(baseline=honest).flags == ()


def test_a_model_made_for_three_flags(evaluate, honest):
    def model(f, images):
        return probabilities(partial(in_steps, f), images)

    flags = "\n".join(evaluate(model, {"FGSM": fgsm}, baseline=honest).flags)
    assert "The outputs look like probabilities, not logits: a softmax" in flags
    assert "The gradient is zero for 200 of 200 sampled images, so gradient attacks" in flags
    still = (
        r"box, 9\d% of 200 sampled images are still correct after gradient ascent from the images"
    )
    assert re.search(still, flags)


def test_a_gradient_that_points_the_wrong_way(evaluate, honest):
    (whole_box,) = (
        flag
        for flag in evaluate(backwards, {"FGSM": fgsm}, baseline=honest).flags
        if "gradient ascent" in flag
    )
    assert "where chance is 10%: this attack fails." in whole_box


def test_a_gradient_that_is_not_finite(cnn):
    f = robustlib.logits_fn(infinite_slope, robustlib.logits_fn(cnn.state))
    assert list(sanity.flag_gradients(f, cnn.split)) == [
        "The gradient is NaN or infinite for 200 of 200 sampled images; attacks take a NaN for "
        "zero. See 06_evaluation."
    ]


@pytest.mark.parametrize(
    "attack", [fgsm, pgd, robustlib.apgd, robustlib.apgd_targeted, robustlib.square]
)
@pytest.mark.parametrize("threat", [Linf(0.1), L2(1.5)])
def test_a_gradient_that_is_not_finite_throws_no_attack_out_of_the_box(cnn, attack, threat):
    f, (images, labels) = robustlib.logits_fn(cnn.state), first(cnn, 20)
    steep = robustlib.logits_fn(infinite_slope, f)
    found = attack(steep, images, labels, threat, jax.random.key(0))
    assert np.isfinite(found).all() and threat.contains(images, found).all()


def test_a_gradient_that_explodes(evaluate, honest):
    flags = evaluate(_steep, {"FGSM": fgsm}, baseline=honest).flags
    assert any(
        re.match(r"The gradient explodes for \d+ of 200 sampled images", flag) for flag in flags
    )


def _steep(f, images):
    """The network's logits plus a wave too small to see, and very steep."""
    return f(images) + 1e-4 * jnp.sin(1e12 * images.sum((1, 2))) * jnp.arange(10.0)[None]


@pytest.mark.parametrize("attacks", [{"FGSM": fgsm}, "quick"], ids=["by name", "quick"])
def test_a_model_that_is_random(evaluate, honest, brief, attacks):
    flags = evaluate(_random, attacks, baseline=honest, progress=False).flags
    assert any("The model is randomised: two calls with the same" in flag for flag in flags)


def _random(f, images):
    shape = jax.ShapeDtypeStruct((), jnp.float32)
    noise = jax.pure_callback(lambda: np.float32(RNG.normal()), shape)
    return f(images) + noise * jnp.arange(10.0)[None]


RNG = np.random.default_rng(0)


@pytest.mark.parametrize("attacks", [{"FGSM": fgsm}, "quick"], ids=["by name", "quick"])
def test_a_model_that_looks_at_its_batch(evaluate, honest, brief, attacks):
    flags = evaluate(_centred, attacks, baseline=honest, progress=False).flags
    assert any("The outputs depend on the batch: an image alone" in flag for flag in flags)


def _centred(f, images):
    return f(images) - f(images).mean(axis=0, keepdims=True)


def test_a_random_model_is_seen_beside_a_nan(cnn):
    f, (images, labels) = robustlib.logits_fn(cnn.state), first(cnn, 20)
    split = SimpleNamespace(images=images, labels=labels)
    holed = robustlib.logits_fn(_holed, (f, images[3].mean()))
    assert np.isnan(np.asarray(holed(images))).any(axis=1).sum() == 1
    assert not list(sanity.flag_unsteady(holed, split))
    (flag,) = sanity.flag_unsteady(robustlib.logits_fn(_random, holed), split)
    assert "The model is randomised" in flag


def _holed(how, images):
    """The network, with no answer to images of one mean."""
    f, mean = how
    hole = jnp.abs(images.mean(axis=(1, 2, 3)) - mean) < 1e-6
    return jnp.where(hole[:, None], jnp.nan, f(images))


@pytest.mark.parametrize("attacks", [HONEST, "quick"], ids=["by name", "quick"])
def test_no_answer_counts_as_broken_and_is_flagged(uncompared, attacks):
    images = np.full((4, 6, 6, 1), 0.5, np.float32)
    split = SimpleNamespace(images=images, labels=np.zeros(4, np.int32))
    where = (robustlib.logits_fn(_nan_above), split, Linf(0.2), jax.random.key(0))
    report = robustlib.evaluate_robustness(*where, attacks=attacks, progress=False)
    assert (report.clean_correct, report.robust_correct) == (4, 0)
    assert any(flag.startswith("For ") and "a logit is NaN" in flag for flag in report.flags)


def _nan_above(images):
    """Five classes, always the first; brighter than 0.55 there is no answer."""
    mean = images.mean(axis=(1, 2, 3))[:, None]
    logits = jnp.array([[1.0, 0, 0, 0, 0]]) * (1 - mean) - jnp.arange(5.0)[None]
    return jnp.where(mean > 0.55, jnp.nan, logits)


def test_logits_that_are_not_finite():
    logits = np.float32([[1, 2], [np.nan, 0]])
    assert list(sanity.flag_outputs(logits)) == [
        "The model returns NaN or infinite logits for some images. See 06_evaluation."
    ]
    assert not list(sanity.flag_outputs(np.float32([[1, 2], [-1, 0]])))
    both = sanity.flag_outputs(np.float32([[0.5, 0.5], [np.nan, 0]]))
    assert [flag.split(",")[0] for flag in both] == [
        "The model returns NaN or infinite logits for some images. See 06_evaluation.",
        "The outputs look like probabilities",
    ]


def test_images_without_an_answer_are_misread_and_flagged(brief):
    """Half of the images are brighter than the model can bear, before any attack."""
    images = np.full((4, 6, 6, 1), 0.5, np.float32)
    images[:2] = 0.9
    split = SimpleNamespace(images=images, labels=np.zeros(4, np.int32))
    where = (robustlib.logits_fn(_nan_above), split, Linf(0.01), jax.random.key(0))
    report = robustlib.evaluate_robustness(*where, attacks="quick", progress=False)
    assert report.clean_correct == report.robust_correct == 2
    assert any("NaN or infinite logits for some images" in flag for flag in report.flags)


def test_each_flag_names_a_chapter_that_exists(evaluate, honest):
    raised = [
        flag
        for model, attacks in (
            (probabilities, {"FGSM": fgsm}),
            (in_steps, {"mine": outside}),
            (backwards, HONEST),
            (_steep, {"FGSM": fgsm, "PGD": partial(pgd, steps=1, step_size=1e-6)}),
            (_random, {"FGSM": fgsm}),
            (_centred, {"FGSM": fgsm}),
        )
        for flag in evaluate(model, attacks).flags
    ]
    assert all(re.search(r" See \d\d_\w+\.$", flag) for flag in raised) and len(raised) > 12
    root = Path(robustlib.__file__).parents[1]
    named = {
        chapter
        for path in (root / "robustlib").glob("*.py")
        for chapter in re.findall(r"\bSee\s+\"?\s*\"?(\d\d_\w+)", path.read_text(encoding="utf-8"))
    }
    assert len(named) >= 3
    assert all((root / "notebooks" / f"{chapter}.ipynb").exists() for chapter in named)


@pytest.mark.parametrize(
    ("attacks", "text"),
    [
        (
            {"quick": fgsm, "slow": partial(pgd, steps=1, step_size=1e-6)},
            r"quick breaks \d+ of 200 images and slow \d+ \(.*\): PGD is set badly, or the",
        ),
        ({"mine": unmoved}, "whole box, 9.% of 200 sampled images are still correct after mine"),
        ({"mine": outside}, "200 adversarial images did not pass"),
    ],
)
def test_an_attack_made_for_a_flag(evaluate, honest, attacks, text):
    flags = evaluate(attacks=attacks, baseline=honest).flags
    assert any(re.search(text, flag) for flag in flags), flags


def test_a_baseline_must_be_like_the_report(evaluate, honest):
    (flag,) = evaluate(epsilon=0.05, baseline=honest).flags
    assert "another threat model, on another number of images or with other attacks" in flag
    assert "l-inf, epsilon 0.1, 200 images, FGSM, PGD" in flag
    other = evaluate(attacks={"FGSM": fgsm}, baseline=honest)
    assert "with other attacks" in other.flags[0] and other.baseline is None


@pytest.mark.parametrize("which", ["the report", "the baseline"])
def test_what_was_interrupted_is_compared_with_nothing(honest, which):
    stopped = dataclasses.replace(honest, partial=True)
    pair = (stopped, honest) if which == "the report" else (honest, stopped)
    (flag,) = sanity.flag_baseline(*pair)
    assert "was interrupted, so the two cannot be compared" in flag
    assert not sanity.is_comparable(*pair) and sanity.is_comparable(honest, honest)


def test_the_sample_is_spread_over_the_split():
    split = SimpleNamespace(images=np.arange(1000).reshape(1000, 1, 1, 1), labels=np.arange(1000))
    few = sanity.sample(split)
    np.testing.assert_array_equal(few.labels, np.arange(0, 1000, 5))
    np.testing.assert_array_equal(few.images[:, 0, 0, 0], few.labels)
    assert len(sanity.sample(SimpleNamespace(images=split.images[:7], labels=np.arange(7)))[1]) == 7
