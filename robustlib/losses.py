"""Losses per example: the caller takes the mean to train, the sum to attack."""

import jax
import jax.numpy as jnp
import optax


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
    true_class = jax.nn.one_hot(labels, logits.shape[1], dtype=bool)
    best_other = jnp.where(true_class, -jnp.inf, logits).max(axis=1)
    return best_other - jnp.where(true_class, logits, -jnp.inf).max(axis=1)
