"""Plausible wrong answers to the exercises of chapter 4: each must be told what is wrong."""

import jax
import jax.numpy as jnp
import numpy as np

from robustlib import Mixed, SmallCNN, Standard, create_state, cross_entropy, fit


def _gradients(state, batch, epsilon, scale):
    """Return the gradients of the summed loss, clean and adversarial, from two passes."""

    def summed_loss(params, images):
        return cross_entropy(state.apply_fn({"params": params}, images), batch["label"]).sum()

    clean, image_gradient = jax.grad(summed_loss, (0, 1))(state.params, batch["image"])
    attacked = scale(batch["image"] + epsilon * jnp.sign(image_gradient))
    return clean, jax.grad(summed_loss)(state.params, attacked)


def _combined(clean_share, adversarial_share, scale=lambda points: jnp.clip(points, 0, 1)):
    def mixed_gradients(state, batch, epsilon, weight):
        n, gradients = len(batch["label"]), _gradients(state, batch, epsilon, scale)
        shares = clean_share(weight, n), adversarial_share(weight, n)
        return jax.tree.map(lambda c, a: shares[0] * c + shares[1] * a, *gradients)

    return mixed_gradients


def _three_passes(state, batch, epsilon, weight):
    def loss(params, images):
        return cross_entropy(state.apply_fn({"params": params}, images), batch["label"]).mean()

    gradient = jax.grad(loss, argnums=1)(state.params, batch["image"])
    attacked = jnp.clip(batch["image"] + epsilon * jnp.sign(gradient), 0, 1)
    return jax.grad(
        lambda params: (1 - weight) * loss(params, batch["image"]) + weight * loss(params, attacked)
    )(state.params)


def _three_passes_in_two_runs(state, batch, epsilon, weight):
    images, labels, n = batch["image"], batch["label"], len(batch["label"])

    def losses(params, images, labels):
        return cross_entropy(state.apply_fn({"params": params}, images), labels)

    gradient = jax.grad(lambda images: losses(state.params, images, labels).sum())(images)
    both = jnp.concatenate([images, jnp.clip(images + epsilon * jnp.sign(gradient), 0, 1)])
    shares = jnp.repeat(jnp.array([1 - weight, weight]) / n, n, total_repeat_length=2 * n)
    twice = jnp.concatenate([labels, labels])
    return jax.grad(lambda params: (shares * losses(params, both, twice)).sum())(state.params)


def _trained(objective, result_of=lambda start, result: result.state):
    def train(split, epsilon):
        start = create_state(SmallCNN(), jax.random.key(0), split.images)
        key = jax.random.key(1)
        result = fit(start, split, objective(epsilon), key, epochs=3, progress=False)
        return result_of(start, result)

    return train


WRONG = {
    "check_mixed_gradients": {
        "shares swapped": _combined(lambda w, n: w / n, lambda w, n: (1 - w) / n),
        "always half and half": _combined(lambda w, n: 0.5 / n, lambda w, n: 0.5 / n),
        "the clean half is a sum": _combined(lambda w, n: 1 - w, lambda w, n: w / n),
        "a sum, not a mean": _combined(lambda w, n: 1 - w, lambda w, n: w),
        "not clipped": _combined(lambda w, n: (1 - w) / n, lambda w, n: w / n, lambda x: x),
        "three passes": _three_passes,
        "three passes in two runs": _three_passes_in_two_runs,
        "no attack": lambda state, batch, e, w: Standard()(state, batch, None, 1.0)[1],
        "the loss as well": lambda state, batch, e, w: Mixed(e, w)(state, batch, None, 1.0),
    },
    "check_honest_curve": {
        "each step by itself": lambda survived: survived.mean(axis=1),
        "the lowest average": lambda survived: np.minimum.accumulate(survived.mean(axis=1)),
        "from the large end": lambda survived: np.logical_and.accumulate(survived[::-1]).mean(
            axis=1
        )[::-1],
        "any step survived": lambda survived: np.logical_or.accumulate(survived).mean(axis=1),
        "one number": lambda survived: survived.all(axis=0).mean(),
    },
    "check_mixed_training": {
        "trained on clean images": _trained(lambda epsilon: Standard()),
        "the epsilon of the chapter": _trained(lambda epsilon: Mixed(0.1)),
        "epsilon in units of 255": _trained(lambda epsilon: Mixed(epsilon / 255)),
        "the state before training": _trained(Mixed, lambda start, result: start),
        "trained on other images": lambda split, epsilon: create_state(
            SmallCNN(), jax.random.key(0), np.zeros((1, 28, 28, 1), np.float32)
        ),
        "the whole result of fit": _trained(Mixed, lambda start, result: result),
    },
}
