"""Each sanity flag lights up on a model or an attack made for it, and stays dark otherwise."""

import re
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import robustlib
from robustlib import Linf, fgsm, pgd, sanity
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
        "The gradient is NaN or infinite for 200 of 200 sampled images. See 07_gradient_masking."
    ]


def test_a_gradient_that_explodes(evaluate, honest):
    flags = evaluate(_steep, {"FGSM": fgsm}, baseline=honest).flags
    assert any(
        re.match(r"The gradient explodes for \d+ of 200 sampled images", flag) for flag in flags
    )


def _steep(f, images):
    """The network's logits plus a wave too small to see, and very steep."""
    return f(images) + 1e-4 * jnp.sin(1e12 * images.sum((1, 2))) * jnp.arange(10.0)[None]


def test_a_model_that_is_random(evaluate, honest):
    flags = evaluate(_random, {"FGSM": fgsm}, baseline=honest).flags
    assert any("The model is randomised: two calls with the same" in flag for flag in flags)


def _random(f, images):
    shape = jax.ShapeDtypeStruct((), jnp.float32)
    noise = jax.pure_callback(lambda: np.float32(RNG.normal()), shape)
    return f(images) + noise * jnp.arange(10.0)[None]


RNG = np.random.default_rng(0)


def test_a_model_that_looks_at_its_batch(evaluate, honest):
    flags = evaluate(_centred, {"FGSM": fgsm}, baseline=honest).flags
    assert any("The outputs depend on the batch: an image alone" in flag for flag in flags)


def _centred(f, images):
    return f(images) - f(images).mean(axis=0, keepdims=True)


def test_logits_that_are_not_finite():
    logits = np.float32([[1, 2], [np.nan, 0]])
    assert list(sanity.flag_outputs(logits)) == [
        "The model returns NaN or infinite logits for some images. See 06_evaluation."
    ]
    assert not list(sanity.flag_outputs(np.float32([[1, 2], [-1, 0]])))


@pytest.mark.parametrize(
    ("attacks", "text"),
    [
        (
            {"quick": fgsm, "slow": partial(pgd, steps=1, step_size=1e-6)},
            "slow breaks fewer images than quick, one step of the same: PGD is set badly",
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


def test_the_sample_is_spread_over_the_split():
    split = SimpleNamespace(images=np.arange(1000).reshape(1000, 1, 1, 1), labels=np.arange(1000))
    few = sanity.sample(split)
    np.testing.assert_array_equal(few.labels, np.arange(0, 1000, 5))
    np.testing.assert_array_equal(few.images[:, 0, 0, 0], few.labels)
    assert len(sanity.sample(SimpleNamespace(images=split.images[:7], labels=np.arange(7)))[1]) == 7
