"""Attacks: `(logits_fn, images, labels, threat, key) -> images`, each image on its own.

An attack follows the gradient of the *sum* of the losses over the batch. The gradient of the mean
points the same way, but divided by N it underflows to zero for confident networks.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from robustlib import checks
from robustlib.logits import logits_fn as as_logits_fn
from robustlib.logits import predicted
from robustlib.losses import cross_entropy
from robustlib.threat import Threat

Loss = Callable[[jax.Array, jax.Array], jax.Array]


def fgsm(
    logits_fn: Any,
    images: jax.Array,
    labels: jax.Array,
    threat: Threat,
    key: jax.Array | None = None,
    *,
    loss: Loss = cross_entropy,
    targeted: bool = False,
) -> jax.Array:
    """Return images after one step of the full size in the steepest direction of the loss.

    For l-inf this is the fast gradient sign method of Goodfellow et al. (2015), equation in
    section 4: `clip(x + epsilon * sign(grad_x L(f(x), y)), 0, 1)`. For l-2 it is the step that
    maximises the linearised loss inside ball and box.

    Args:
        logits_fn: images [N, H, W, C] to logits [N, K]; see `robustlib.logits_fn`.
        images: float [N, H, W, C] in [0, 1].
        labels: int [N] in [0, K): the true classes, or, if `targeted`, the classes to reach.
        threat: `Linf`, `L2` or `L1`.
        key: not used; every attack has this argument.
        loss: from logits [N, K] and labels [N] to [N].
        targeted: lower the loss at `labels`, in place of raising it.

    Returns:
        float [N, H, W, C] in the threat model's ball and in [0, 1].

    Raises:
        TypeError, ValueError: an argument is of the wrong type, shape or range.
    """
    logits_fn, images, labels, threat = checked(logits_fn, images, labels, threat)
    return _fgsm(logits_fn, images, labels, threat, loss=loss, targeted=targeted)


def pgd(
    logits_fn: Any,
    images: jax.Array,
    labels: jax.Array,
    threat: Threat,
    key: jax.Array,
    *,
    steps: int = 40,
    step_size: float | None = None,
    restarts: int = 1,
    loss: Loss = cross_entropy,
    targeted: bool = False,
) -> jax.Array:
    """Return the strongest images that projected gradient ascent finds.

    Madry et al. (2018), section 2.1: from a random start in ball and box, `steps` times a step of
    `step_size` in the steepest direction, then back into ball and box. Of the points visited, each
    example keeps its own best: one that fools the model beats one that does not, whatever its
    loss; among equals the higher loss wins. An example that a restart has fooled is left alone by
    the next ones, and the loop over restarts ends when all are fooled.

    Args:
        logits_fn: images [N, H, W, C] to logits [N, K]; see `robustlib.logits_fn`.
        images: float [N, H, W, C] in [0, 1].
        labels: int [N] in [0, K): the true classes, or, if `targeted`, the classes to reach.
        threat: `Linf`, `L2` or `L1`.
        key: one `jax.random.key`, or N of them, one for each example.
        steps: gradient steps a restart, from 1.
        step_size: in the units of epsilon; 2.5 * epsilon / steps if left out.
        restarts: random starts, from 1.
        loss: from logits [N, K] and labels [N] to [N].
        targeted: lower the loss at `labels`, in place of raising it.

    Returns:
        float [N, H, W, C] in the threat model's ball and in [0, 1].

    Raises:
        TypeError, ValueError: an argument is of the wrong type, shape or range.
    """
    checks.check_counts(steps=steps, restarts=restarts)
    checks.check_step_size(step_size)
    logits_fn, images, labels, threat = checked(logits_fn, images, labels, threat)
    keys = checks.example_keys(key, images.shape[0])
    if step_size is None:
        step_size = 2.5 * threat.epsilon / steps
    step_size = jnp.asarray(step_size, images.dtype)
    return _pgd(
        logits_fn,
        images,
        labels,
        threat,
        keys,
        jnp.asarray(steps),
        step_size,
        jnp.asarray(restarts),
        loss=loss,
        targeted=targeted,
    )


def noise(
    logits_fn: Any, images: jax.Array, labels: jax.Array, threat: Threat, key: jax.Array
) -> jax.Array:
    """Return images after one step of the full size in a random direction: the attack's baseline.

    For l-inf every pixel moves by epsilon up or down, then is clipped to [0, 1]. The model is not
    asked.

    Args:
        logits_fn: not used, beyond the check of what it returns.
        images: float [N, H, W, C] in [0, 1].
        labels: int [N]; not used, beyond their check.
        threat: `Linf`, `L2` or `L1`.
        key: one `jax.random.key`, or N of them, one for each example.

    Returns:
        float [N, H, W, C] in the threat model's ball and in [0, 1].

    Raises:
        TypeError, ValueError: an argument is of the wrong type, shape or range.
    """
    _, images, _, threat = checked(logits_fn, images, labels, threat)
    return _noise(images, threat, checks.example_keys(key, images.shape[0]))


def checked(logits_fn, images, labels, threat):
    """Check what every attack takes, and return it in the types that jitted code is keyed by."""
    checks.check_images(images)
    checks.check_threat(threat, images.shape)
    logits_fn = as_logits_fn(logits_fn)
    images = jnp.asarray(images)
    checks.check_labels(labels, images, classes=checks.check_logits(logits_fn, images))
    # A Python float and an array would be compiled for separately.
    threat = type(threat)(jnp.asarray(threat.epsilon, images.dtype))
    return logits_fn, images, jnp.asarray(labels), threat


def image_gradient(logits_fn, images, labels, *, loss: Loss = cross_entropy, targeted=False):
    """Return the gradient, with respect to the images, of the loss that an attack raises.

    Args:
        logits_fn: images [N, H, W, C] to logits [N, K].
        images: float [N, H, W, C].
        labels: int [N]: true classes, or targets.
        loss: from logits and labels to [N].
        targeted: raise the negative loss at `labels`.

    Returns:
        The gradient of the summed loss [N, H, W, C], and (logits [N, K], losses [N]).

    Raises:
        ValueError: the loss is not one number an image.
    """

    def summed_loss(images):
        logits, losses = _seen(logits_fn, images, labels, loss, targeted)
        return losses.sum(), (logits, losses)

    return jax.grad(summed_loss, has_aux=True)(images)


def _seen(logits_fn, images, labels, loss, targeted):
    """Return the logits [N, K] and, in the images' type, the losses [N] that an attack raises."""
    logits = logits_fn(images)
    losses = -loss(logits, labels) if targeted else loss(logits, labels)
    if losses.shape != labels.shape:
        raise ValueError(
            f"loss must return one number an image, {labels.shape}, but returned "
            f"{losses.shape}: do not average over the batch."
        )
    return logits, losses.astype(images.dtype)


def finite(gradients: jax.Array) -> jax.Array:
    """Return zero for NaN, and the largest number for infinity: no attack may leave the box."""
    return jnp.nan_to_num(gradients)


@partial(jax.jit, static_argnames=("loss", "targeted"))
def _fgsm(logits_fn, images, labels, threat, *, loss, targeted):
    gradients, _ = image_gradient(logits_fn, images, labels, loss=loss, targeted=targeted)
    return threat.steepest(images, finite(gradients), threat.epsilon)


@jax.jit
def _noise(images, threat, keys):
    direction = jax.vmap(lambda key: jax.random.normal(key, images.shape[1:], images.dtype))(keys)
    return threat.steepest(images, direction, threat.epsilon)


def ascend(logits_fn, images, labels, threat, start, *, steps, step_size):
    """Return the last point of `steps` projected gradient steps from `start`, as training uses it.

    Args:
        logits_fn: images [N, H, W, C] to logits [N, K].
        images: float [N, H, W, C], the centres of the balls.
        labels: int [N], true classes.
        threat: `Linf`, `L2` or `L1`.
        start: float [N, H, W, C], in ball and box.
        steps: number of steps; may be traced.
        step_size: in the units of epsilon.

    Returns:
        float [N, H, W, C] in ball and box.
    """

    def step(_, points):
        gradients, _ = image_gradient(logits_fn, points, labels)
        return threat.project(images, threat.steepest(points, gradients, step_size))

    return lax.fori_loop(0, steps, step, start)


class _Candidate(NamedTuple):
    """The best point so far of each example."""

    points: jax.Array  # [N, H, W, C]
    success: jax.Array  # bool [N]
    losses: jax.Array  # [N], as the attack raises them

    def replaced(self, by: "_Candidate", where: jax.Array) -> "_Candidate":
        return _Candidate(
            jnp.where(where[:, None, None, None], by.points, self.points),
            jnp.where(where, by.success, self.success),
            jnp.where(where, by.losses, self.losses),
        )


@partial(jax.jit, static_argnames=("loss", "targeted"))
def _pgd(
    logits_fn, images, labels, threat, keys, steps, step_size, restarts, *, loss, targeted
) -> jax.Array:
    nothing = _Candidate(
        images, jnp.zeros(len(images), bool), jnp.full(len(images), -jnp.inf, images.dtype)
    )

    def visited(points, logits, losses):
        return _Candidate(points, (predicted(logits) == labels) == targeted, losses)

    def one_restart(restart):
        def step(_, carry):
            points, best = carry
            gradients, seen = image_gradient(
                logits_fn, points, labels, loss=loss, targeted=targeted
            )
            best = _better(best, visited(points, *seen))
            ahead = threat.steepest(points, finite(gradients), step_size)
            return threat.project(images, ahead), best

        start = threat.sample(images, jax.vmap(jax.random.fold_in, (0, None))(keys, restart))
        last, best = lax.fori_loop(0, steps, step, (start, nothing))
        seen = _seen(logits_fn, last, labels, loss, targeted)
        return _better(best, visited(last, *seen))

    def next_restart(carry):
        restart, best = carry
        new = one_restart(restart)
        wins = ~best.success & (new.success | (new.losses > best.losses))
        return restart + 1, best.replaced(new, wins)

    def unfinished(carry):
        restart, best = carry
        return (restart < restarts) & ~best.success.all()

    _, best = lax.while_loop(unfinished, next_restart, (0, nothing))
    return best.points


def _better(best: _Candidate, new: _Candidate) -> _Candidate:
    """Keep, for each example, success before failure, then the higher loss."""
    wins = jnp.where(new.success == best.success, new.losses > best.losses, new.success)
    return best.replaced(new, wins)
