"""The textbook's listing, as it stands there, and gradients before the optimiser."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

cross_entropy = optax.softmax_cross_entropy_with_integer_labels
DESCENT = optax.sgd(1.0)


def fgsm_attack(state, batch, epsilon=0.1):
    """Return the fast gradient sign method's images."""

    def loss_fn(image):
        logits = state.apply_fn({"params": state.params}, image)
        return cross_entropy(logits, batch["label"]).mean()

    gradient = jax.grad(loss_fn)(batch["image"])
    return jnp.clip(batch["image"] + epsilon * jnp.sign(gradient), 0.0, 1.0)


def train_step(state, batch, epsilon=0.1, weight=0.5):
    """Take three passes: for the attack, the clean loss, the adversarial loss."""
    adversarial = fgsm_attack(state, batch, epsilon)

    def loss_fn(params):
        clean_logits = state.apply_fn({"params": params}, batch["image"])
        adversarial_logits = state.apply_fn({"params": params}, adversarial)
        clean = cross_entropy(clean_logits, batch["label"]).mean()
        adversarial_loss = cross_entropy(adversarial_logits, batch["label"]).mean()
        return (1 - weight) * clean + weight * adversarial_loss

    return state.apply_gradients(grads=jax.grad(loss_fn)(state.params))


def gradient_of(step, state, *args, **kwargs):
    """Return the gradient before the optimiser: what a step of plain descent of length 1 takes."""
    plain = type(state).create(apply_fn=state.apply_fn, params=state.params, tx=DESCENT)
    plain = plain.replace(step=jnp.zeros((), jnp.int32))
    after = step(plain, *args, **kwargs)
    return jax.tree.map(lambda a, b: np.asarray(a, np.float64) - b, plain.params, after.params)


def relative_difference(a, b):
    """Return `|a - b| / |b|` over all parameters, in l-2."""
    a, b = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)]) for tree in (a, b))
    return np.linalg.norm(a - b) / np.linalg.norm(b)
