"""Losses per example: the caller takes the mean to train, the sum to attack."""

import jax
import jax.numpy as jnp
import optax
from jax import lax


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the softmax cross-entropy, `log sum_j exp(z_j) - z_y`, of each example.

    Args:
        logits: float [N, K].
        labels: int [N], each in [0, K).

    Returns:
        float [N], at least 0.
    """
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)


def margin(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return `max_{j != y} z_j - z_y` of each example: positive where it is misclassified.

    The loss of Carlini and Wagner (2017, section V, f_6) without its clipping at zero. Unlike
    cross-entropy it does not saturate when the network is sure of itself.

    Args:
        logits: float [N, K].
        labels: int [N], each in [0, K).

    Returns:
        float [N], in units of logits.
    """
    true_class = labels[:, None] == jnp.arange(logits.shape[1])[None]
    best_other = jnp.where(true_class, -jnp.inf, logits).max(axis=1)
    return best_other - jnp.where(true_class, logits, -jnp.inf).max(axis=1)


def dlr(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the difference of logits ratio of each example: positive where it is misclassified.

    Croce and Hein (2020), equation 6: `(max_{j != y} z_j - z_y) / (z_(1) - z_(3))`, with `z_(i)`
    the i-th largest logit. Scaling or shifting all logits leaves it as it is, so an attack that
    follows it cannot be blinded by large logits.

    Args:
        logits: float [N, K] with K at least 3.
        labels: int [N], each in [0, K).

    Returns:
        float [N], at least -1.

    Raises:
        ValueError: there are fewer than three classes.
    """
    largest = _largest(logits, 3, "dlr")
    return margin(logits, labels) / _not_zero(largest[:, 0] - largest[:, 2])


def targeted_dlr(logits: jax.Array, labels: jax.Array, targets: jax.Array) -> jax.Array:
    """Return by how much the target leads the label, in units that do not change with scale.

    Croce and Hein (2020), equation 7: `(z_t - z_y) / (z_(1) - (z_(3) + z_(4)) / 2)`.

    Args:
        logits: float [N, K] with K at least 4.
        labels: int [N], each in [0, K): the true classes.
        targets: int [N], each in [0, K): the classes to reach.

    Returns:
        float [N].

    Raises:
        ValueError: there are fewer than four classes.
    """
    largest = _largest(logits, 4, "targeted_dlr")
    lead = _taken(logits, targets) - _taken(logits, labels)
    return lead / _not_zero(largest[:, 0] - (largest[:, 2] + largest[:, 3]) / 2)


def _not_zero(spread):
    """Return the spread of the logits; 1 where all are equal, which must not divide by zero."""
    return jnp.where(spread > 0, spread, 1)


def _largest(logits, n, name):
    """Return the n largest logits [N, n], in falling order."""
    if logits.shape[1] < n:
        raise ValueError(
            f"{name} needs at least {n} classes, but the model has {logits.shape[1]}: "
            "use margin or cross_entropy."
        )
    return lax.top_k(logits, n)[0]


def _taken(logits, classes):
    return jnp.take_along_axis(logits, classes[:, None], axis=1)[:, 0]
