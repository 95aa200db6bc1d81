"""Threat models: which perturbations an attacker may choose, and how to move among them.

Every perturbed image stays in the box [0, 1] of valid pixels as well as in a ball around its
original. Each operation below is exact for both together: doing one after the other would give a
point inside, but not the nearest, or not the steepest.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from robustlib import checks

_BISECTIONS = 30  # to the last bits of float32


def _rows(images: jax.Array) -> jax.Array:
    """Return images as rows [N, H * W * C]: XLA sums over one axis much faster on a CPU."""
    return images.reshape(images.shape[0], -1)


def _norm(rows: jax.Array) -> jax.Array:
    """Return the l-2 norm of each row, as [N, 1]."""
    return jnp.sqrt(jnp.sum(rows**2, axis=1, keepdims=True))


def _sum(rows: jax.Array) -> jax.Array:
    """Return the l-1 norm of each row, as [N, 1]."""
    return jnp.sum(jnp.abs(rows), axis=1, keepdims=True)


def _pytree(cls):
    """Register a threat model as a pytree with epsilon as its leaf.

    Not with `register_dataclass`: in some versions of JAX two dataclasses with as many fields
    compare equal as pytrees, and jitted code sometimes takes one for the other.
    """
    jax.tree_util.register_pytree_node(cls, lambda t: ((t.epsilon,), None), lambda _, e: cls(*e))
    return cls


@_pytree
@dataclass(frozen=True)
class Linf:
    """All images whose pixels each differ by at most epsilon: `max_i |delta_i| <= epsilon`.

    Args:
        epsilon: the radius, in pixel units: a number in [0, 1], such as 0.3 or 8 / 255.
    """

    epsilon: float | jax.Array
    name: ClassVar[str] = "l-inf"

    def largest_epsilon(self, image_shape: tuple[int, ...]) -> float:
        """Return the epsilon at which the ball holds the whole box: 1."""
        return 1.0

    def project(self, images: jax.Array, points: jax.Array) -> jax.Array:
        """Return the nearest point, in ball and box, to each of `points` [N, H, W, C]."""
        lower = jnp.maximum(images - self.epsilon, 0)
        upper = jnp.minimum(images + self.epsilon, 1)
        return jnp.clip(points, lower, upper)

    def sample(self, images: jax.Array, keys: jax.Array) -> jax.Array:
        """Return one point for each image, uniform over ball and box; keys [N]."""
        uniform = jax.vmap(lambda key: jax.random.uniform(key, images.shape[1:], images.dtype))
        lower = jnp.maximum(images - self.epsilon, 0)
        upper = jnp.minimum(images + self.epsilon, 1)
        return lower + (upper - lower) * uniform(keys)

    def steepest(self, points: jax.Array, gradients: jax.Array, step_size) -> jax.Array:
        """Return `clip(points + step_size * sign(gradients), 0, 1)`.

        Of all steps of at most step_size in l-inf that stay in the box, it raises the linearised
        loss `<gradient, step>` most. Where a gradient is zero, the pixel stays.
        """
        return jnp.clip(points + step_size * jnp.sign(gradients), 0, 1)

    def direction(self, gradients: jax.Array) -> jax.Array:
        """Return `sign(gradients)`: of length 1, and steepest where there is no box."""
        return jnp.sign(gradients)

    def contains(self, images: jax.Array, points: jax.Array) -> np.ndarray:
        """Return bool [N]: whether each point is in ball and box, up to rounding. Not for `jit`."""
        images, points = np.asarray(images, np.float64), np.asarray(points, np.float64)
        size = np.abs(points - images).max(axis=(1, 2, 3))
        return _in_box(points) & (size <= float(self.epsilon) + checks.LINF_TOLERANCE)


@_pytree
@dataclass(frozen=True)
class L2:
    """All images at a Euclidean distance of at most epsilon: `sqrt(sum_i delta_i^2) <= epsilon`.

    Args:
        epsilon: the radius, in pixel units: a number in [0, sqrt(H * W * C)].
    """

    epsilon: float | jax.Array
    name: ClassVar[str] = "l-2"

    def largest_epsilon(self, image_shape: tuple[int, ...]) -> float:
        """Return the epsilon at which the ball holds the whole box: sqrt(H * W * C)."""
        return math.sqrt(math.prod(image_shape[1:]))

    def project(self, images: jax.Array, points: jax.Array) -> jax.Array:
        """Return the nearest point, in ball and box, to each of `points` [N, H, W, C].

        By the optimality conditions it is `images + clip(s * delta, -images, 1 - images)` with
        `delta = points - images` and the largest s in [0, 1] that stays in the ball.
        """
        centres, delta = _rows(images), _rows(points - images)

        def shortened(s):
            return jnp.clip(s * delta, -centres, 1 - centres)

        # Clipping only shortens, so this s is feasible; s = 1 may be.
        low = jnp.minimum(1, self.epsilon / jnp.maximum(_norm(delta), _tiny(delta)))
        s = _largest_feasible(shortened, _norm, low, jnp.ones_like(low), self.epsilon)
        return jnp.clip(centres + shortened(s), 0, 1).reshape(images.shape)

    def sample(self, images: jax.Array, keys: jax.Array) -> jax.Array:
        """Return one point for each image, uniform in the ball, then clipped to the box; keys [N].

        Clipping to the box only shortens a perturbation, so the point stays in the ball.
        """

        def one(key):
            direction_key, radius_key = jax.random.split(key)
            direction = jax.random.normal(direction_key, images.shape[1:], images.dtype)
            # The volume within radius r grows as r to the power of the dimension.
            radius = jax.random.uniform(radius_key, (), images.dtype) ** (1 / direction.size)
            return radius * direction / jnp.sqrt(jnp.sum(direction**2))

        return jnp.clip(images + self.epsilon * jax.vmap(one)(keys), 0, 1)

    def steepest(self, points: jax.Array, gradients: jax.Array, step_size) -> jax.Array:
        """Return the points after the box-feasible step that raises the linearised loss most.

        Of all steps of at most step_size in l-2 that stay in the box, the maximiser of
        `<gradient, step>` is `clip(s * gradient, -points, 1 - points)`, for the s in [0, infinity)
        at which its norm is step_size; or, if even the corner of the box in the gradient's
        direction is nearer than that, the corner. Where a gradient is zero, the pixel stays.
        """
        starts, gradients = _rows(points), _scaled(_rows(gradients))
        lower, upper, tiny = -starts, 1 - starts, _tiny(gradients)

        def step_at(log_s):
            return jnp.clip(jnp.exp(log_s) * gradients, lower, upper)

        low = jnp.log(jnp.maximum(step_size / jnp.maximum(_norm(gradients), tiny), tiny))
        high = jnp.full_like(low, -math.log(tiny))
        step = step_at(_largest_feasible(step_at, _norm, low, high, step_size))
        corner = jnp.where(gradients > 0, upper, jnp.where(gradients < 0, lower, 0))
        step = jnp.where(_norm(corner) <= step_size, corner, step)
        moved = jnp.where(step_size > 0, jnp.clip(starts + step, 0, 1), starts)
        return moved.reshape(points.shape)

    def direction(self, gradients: jax.Array) -> jax.Array:
        """Return the gradients at length 1, steepest where there is no box; zero stays zero."""
        rows = _scaled(_rows(gradients))
        return (rows / jnp.maximum(_norm(rows), _tiny(rows))).reshape(gradients.shape)

    def contains(self, images: jax.Array, points: jax.Array) -> np.ndarray:
        """Return bool [N]: whether each point is in ball and box, up to rounding. Not for `jit`."""
        images, points = np.asarray(images, np.float64), np.asarray(points, np.float64)
        size = np.sqrt(((points - images) ** 2).sum(axis=(1, 2, 3)))
        return _in_box(points) & (size <= checks.with_tolerance(self.epsilon))


@_pytree
@dataclass(frozen=True)
class L1:
    """All images whose pixels differ by at most epsilon in all: `sum_i |delta_i| <= epsilon`.

    Only `fgsm`, `pgd` and `noise` serve it. Plain PGD is weak in l-1: what it leaves standing is no
    basis for a claim.

    Args:
        epsilon: the radius, in pixel units: a number in [0, H * W * C].
    """

    epsilon: float | jax.Array
    name: ClassVar[str] = "l-1"

    def largest_epsilon(self, image_shape: tuple[int, ...]) -> float:
        """Return the epsilon at which the ball holds the whole box: H * W * C."""
        return float(math.prod(image_shape[1:]))

    def project(self, images: jax.Array, points: jax.Array) -> jax.Array:
        """Return the nearest point, in ball and box, to each of `points` [N, H, W, C].

        By the optimality conditions every pixel's change is first shortened by one and the same
        amount (soft thresholding), then clipped to the box; the amount is the least that suffices.
        """
        centres, delta = _rows(images), _rows(points - images)
        longest = jnp.max(jnp.abs(delta), axis=1, keepdims=True)

        def shortened(s):  # by the amount longest - s
            soft = jnp.sign(delta) * jnp.maximum(jnp.abs(delta) - (longest - s), 0)
            return jnp.clip(soft, -centres, 1 - centres)

        s = _largest_feasible(shortened, _sum, jnp.zeros_like(longest), longest, self.epsilon)
        return jnp.clip(centres + shortened(s), 0, 1).reshape(images.shape)

    def sample(self, images: jax.Array, keys: jax.Array) -> jax.Array:
        """Return one point for each image, uniform in the ball, then clipped to the box; keys [N].

        Clipping to the box only shortens a perturbation, so the point stays in the ball.
        """

        def one(key):
            sign_key, size_key = jax.random.split(key)
            signs = jax.random.rademacher(sign_key, images.shape[1:], images.dtype)
            # Exponentials divided by their sum are uniform on a simplex; the last one is the rest.
            sizes = jax.random.exponential(size_key, (signs.size + 1,), images.dtype)
            return signs * (sizes[:-1] / sizes.sum()).reshape(signs.shape)

        return jnp.clip(images + self.epsilon * jax.vmap(one)(keys), 0, 1)

    def steepest(self, points: jax.Array, gradients: jax.Array, step_size) -> jax.Array:
        """Return the points after the box-feasible step that raises the linearised loss most.

        The pixel with the largest gradient moves first, as far as box and step_size allow, then the
        next one. So a step changes few pixels. Where a gradient is zero, the pixel stays.
        """
        starts, gradients = _rows(points), _rows(gradients)
        order = jnp.argsort(-jnp.abs(gradients), axis=1)
        room = jnp.where(gradients > 0, 1 - starts, jnp.where(gradients < 0, starts, 0))
        room = jnp.take_along_axis(room, order, axis=1)
        left = step_size - (jnp.cumsum(room, axis=1) - room)  # when a pixel's turn comes
        change = jnp.take_along_axis(jnp.clip(left, 0, room), jnp.argsort(order, axis=1), axis=1)
        return jnp.clip(starts + jnp.sign(gradients) * change, 0, 1).reshape(points.shape)

    def contains(self, images: jax.Array, points: jax.Array) -> np.ndarray:
        """Return bool [N]: whether each point is in ball and box, up to rounding. Not for `jit`."""
        images, points = np.asarray(images, np.float64), np.asarray(points, np.float64)
        size = np.abs(points - images).sum(axis=(1, 2, 3))
        return _in_box(points) & (size <= checks.with_tolerance(self.epsilon))


Threat = Linf | L2 | L1


def _largest_feasible(delta_at, norm, low, high, radius) -> jax.Array:
    """Return, for each image, the largest s in [low, high] at which `norm(delta_at(s)) <= radius`.

    Args:
        delta_at: a function from s [N, 1] to perturbations [N, H * W * C] that never shrink as s
            grows.
        norm: from perturbations to their lengths [N, 1].
        low: feasible s [N, 1].
        high: the upper end, feasible or not, [N, 1].
        radius: the bound on the norm.

    Returns:
        s [N, 1]: `high` where that is feasible, else the feasible end of a bisection.
    """

    def halve(_, ends):
        low, high = ends
        middle = (low + high) / 2
        feasible = norm(delta_at(middle)) <= radius
        return jnp.where(feasible, middle, low), jnp.where(feasible, high, middle)

    end, _ = lax.fori_loop(0, _BISECTIONS, halve, (low, high))
    return jnp.where(norm(delta_at(high)) <= radius, high, end)


def _scaled(rows: jax.Array) -> jax.Array:
    """Return rows with a largest entry of 1: the squares of 1e-23 would be zero in float32."""
    largest = jnp.max(jnp.abs(rows), axis=1, keepdims=True)
    return rows / jnp.where(largest > 0, largest, 1)


def _tiny(array: jax.Array) -> float:
    return float(jnp.finfo(array.dtype).tiny)


def _in_box(points: np.ndarray) -> np.ndarray:
    return (points >= 0).all(axis=(1, 2, 3)) & (points <= 1).all(axis=(1, 2, 3))
