"""What must hold of robustlib, as functions that any copy of it can be put through.

The ordinary tests call them on robustlib itself, and `test_mutations.py` on copies that were broken
on purpose. Each takes the library and, where it needs one, a trained network: the properties of the
attacks, which call it `trained`, hold of a linear one as well.
"""

from functools import cache, partial
from itertools import pairwise, product
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import robustlib
from tests import oracles, textbook
from tests.textbook import cross_entropy, gradient_of, relative_difference


class Trained(NamedTuple):
    """A trained state, and test images that it was not trained on."""

    state: Any
    split: Any


def confidence(logits, labels):
    """A loss at odds with success: it is high where the model is right, and sure of it.

    An attack that goes by the loss alone then throws its successes away.
    """
    return -robustlib.margin(logits, labels)


def half_sure(logits, labels):
    """A loss that is highest where the true class leads by one."""
    return -((robustlib.margin(logits, labels) + 1) ** 2)


def first(cnn, n):
    images, labels = cnn.split.images, cnn.split.labels
    index = np.arange(n) * len(labels) // n
    return images[index], labels[index]


def wrong(f, images, labels):
    return np.asarray(forward(f, images)).argmax(axis=1) != labels


forward = jax.jit(lambda f, images: f(images))
textbook_step = jax.jit(textbook.train_step)
loss_gradient = jax.jit(
    lambda f, images, labels, loss: jax.grad(lambda x: loss(f(x), labels).sum())(images),
    static_argnums=3,
)


# ---- attacks ------------------------------------------------------------------------------------


def fgsm_is_its_formula(lib, trained):
    f, (images, labels) = lib.logits_fn(trained.state), first(trained, 200)
    gradient = np.asarray(loss_gradient(f, images, labels, cross_entropy))
    expected = np.clip(images + np.float32(0.1) * np.sign(gradient), 0, 1)
    found = np.asarray(lib.fgsm(f, images, labels, lib.Linf(0.1)))
    assert (np.abs(found - expected) > 1e-6).mean() <= 1e-4  # a sign where rounding decides
    assert wrong(f, found, labels).mean() > wrong(f, images, labels).mean() + 0.2


def pgd_stays_in_ball_and_box(lib, trained):
    f, (images, labels) = lib.logits_fn(trained.state), first(trained, 200)
    for threat in (lib.Linf(0.1), lib.L2(1.5), lib.L1(10.0)):
        found = lib.pgd(f, images, labels, threat, jax.random.key(0), steps=5)
        assert threat.contains(images, found).all()


def pgd_is_a_plain_loop(lib, trained, loss=confidence, threat=("l-inf", 0.3)):
    f, (images, labels) = lib.logits_fn(trained.state), first(trained, 200)
    norm, epsilon = threat
    ball = {"l-inf": lib.Linf, "l-2": lib.L2}[norm](epsilon)
    steps, step_size, restarts = 3, epsilon / 3, 4
    keys = [jax.random.fold_in(jax.random.key(3), i) for i in range(len(images))]
    starts = [
        np.asarray(
            ball.sample(images, jnp.stack([jax.random.fold_in(key, restart) for key in keys]))
        )
        for restart in range(restarts)
    ]
    expected, fooled = oracles.plain_pgd(
        lambda points: np.asarray(loss_gradient(f, points, labels, loss)),
        lambda points: np.asarray(loss(forward(f, points), labels)),
        lambda points: wrong(f, points, labels),
        images,
        starts,
        threat,
        step_size,
        steps,
    )
    found = lib.pgd(
        f,
        images,
        labels,
        ball,
        jax.random.key(3),
        steps=steps,
        step_size=step_size,
        restarts=restarts,
        loss=loss,
    )
    by_chance = wrong(f, starts[0], labels)
    assert by_chance.sum() < fooled.sum() < 0.9 * len(labels)
    differs = (np.abs(np.asarray(found) - expected) > 1e-6).any(axis=(1, 2, 3))
    print(f"{fooled.sum()} of {len(labels)} fooled, {differs.sum()} images differ")
    assert (wrong(f, found, labels) != fooled).mean() <= 0.001
    assert differs.mean() <= 0.01  # a sign where rounding decides


def restarts_never_lose_an_example(lib, trained):
    f, (images, labels) = lib.logits_fn(trained.state), first(trained, 200)
    fooled = [np.zeros(len(images), bool)]
    for restarts in (1, 2, 4, 8):
        found = lib.pgd(
            f,
            images,
            labels,
            lib.Linf(0.3),
            jax.random.key(3),
            steps=3,
            restarts=restarts,
            loss=confidence,
        )
        fooled.append(wrong(f, found, labels))
        assert (fooled[-1] | ~fooled[-2]).all()
    assert fooled[-1].sum() > fooled[1].sum()


def a_targeted_attack_reaches_its_class(lib, trained):
    f, (images, labels) = lib.logits_fn(trained.state), first(trained, 200)
    targets = (labels + 1) % 10
    found = lib.pgd(f, images, targets, lib.Linf(0.3), jax.random.key(0), steps=20, targeted=True)
    assert (~wrong(f, found, targets)).mean() > 0.9


def signs_survive_confidence_and_company(lib, trained):
    """Logits times 20 and a batch of 1,000: divided by N, small gradients vanish in float32."""
    images, labels = trained.split.images, trained.split.labels
    f = lib.logits_fn(_twenty_times, lib.logits_fn(trained.state))
    gradient = np.asarray(loss_gradient(f, images, labels, cross_entropy))
    expected = np.clip(images + np.float32(0.1) * np.sign(gradient), 0, 1)
    found = np.asarray(lib.fgsm(f, images, labels, lib.Linf(0.1)))
    assert (np.abs(found - expected) > 1e-6).mean() <= 1e-4


def _twenty_times(f, images):
    return 20 * f(images)


# ---- Auto-PGD and Square Attack -----------------------------------------------------------------


def apgd_is_a_plain_loop(lib, trained, steps=20):
    """Against a loop over examples in NumPy, by the loss in l-inf and by the points in l-2.

    The second loss is highest inside the ball, in many points. Which of them is found depends on
    every step, on a linear model too, where the margin's best corner is one step away.
    """
    f, (images, labels) = lib.logits_fn(trained.state), first(trained, 40)
    keys = jnp.stack([jax.random.fold_in(jax.random.key(3), i) for i in range(len(images))])
    key_of_run = jnp.stack([jax.random.fold_in(key, 0) for key in keys])
    for ball, loss in ((lib.Linf(0.1), robustlib.margin), (lib.L2(0.7), half_sure)):
        found = lib.apgd(f, images, labels, ball, jax.random.key(3), steps=steps, loss=loss)
        expected, fooled = oracles.plain_apgd(
            lambda points, loss=loss: np.asarray(loss_gradient(f, points, labels, loss)),
            lambda points, loss=loss: np.asarray(loss(forward(f, points), labels)),
            lambda points: wrong(f, points, labels),
            images,
            np.asarray(ball.sample(images, key_of_run)),
            (ball.name, float(ball.epsilon)),
            steps,
        )
        assert ball.contains(images, found).all()
        assert 0.01 < fooled.mean() < 0.95
        losses = [np.asarray(loss(forward(f, x), labels)) for x in (found, np.float32(expected))]
        same = np.abs(losses[0] - losses[1]) < 1e-2 * np.abs(losses[1]) + 1e-3
        if ball.name == "l-2":
            same &= np.abs(found - expected).max(axis=(1, 2, 3)) < 1e-3
        print(f"{ball}: {fooled.sum()} of {len(labels)} fooled, {(~same).sum()} images differ")
        assert (wrong(f, found, labels) == fooled).mean() > 0.98
        assert same.mean() > 0.95  # a sign where rounding decides


def apgd_reaches_the_optimum_of_a_linear_model(lib):
    """Where nobody is fooled: of two classes, whose best point is known in ball and box."""
    rng = np.random.default_rng(0)
    at_the_box, inside = rng.random((20, 5, 4, 3)), rng.uniform(0.4, 0.6, (20, 5, 4, 3))
    weights = np.float32(rng.normal(size=(5, 4, 3)))
    labels = np.zeros(20, np.int32)
    f = lib.logits_fn(_two_linear_classes, weights)
    for images, threat in product(np.float32([at_the_box, inside]), (lib.Linf(0.15), lib.L2(0.6))):
        gradients = np.broadcast_to(weights, images.shape)
        rows = [np.float64(a).reshape(20, -1) for a in (images, gradients)]
        best = oracles.steepest_value(*rows, float(threat.epsilon), threat.name)
        how = {"restarts": 2, "loss": lib.margin}
        found = lib.apgd(f, images, labels, threat, jax.random.key(0), **how)
        assert threat.contains(images, found).all()
        gained = ((np.float64(found) - images) * weights).sum(axis=(1, 2, 3))
        assert (gained <= best + 1e-4).all()
        assert (gained >= best * (1 - 1e-3)).all(), (threat.name, (gained / best).min())


def _two_linear_classes(weights, images):
    lead = (images * weights[None]).sum(axis=(1, 2, 3)) - 100  # nobody is fooled
    return jnp.stack([jnp.zeros_like(lead), lead / 10], axis=1)


def apgd_halves_a_step_that_found_nothing(lib):
    """At a checkpoint: every step raised the loss, and none above the best of the last one."""
    images, keys = jnp.full((4, 2, 2, 1), 0.5), jax.random.split(jax.random.key(0), 4)
    threat, lengths = lib.Linf(0.1), lib.auto_pgd.checkpoints(100)
    state = lib.auto_pgd.start(images, threat, keys)._replace(
        step=jnp.array([22, 22, 22, 21]),
        rises=jnp.array([22, 22, 16, 21]),
        best_loss=jnp.array([1.0, 1.1, 1.1, 1.0]),
        checked_loss=jnp.ones(4),
    )
    moved = lib.auto_pgd._moved(state, jnp.ones_like(images), images, threat, lengths)
    # Nothing found; something found; too few rises; no checkpoint.
    np.testing.assert_allclose(moved.step_size, [0.1, 0.2, 0.1, 0.2], rtol=1e-6)
    assert moved.halved.tolist() == [True, False, True, False]
    again = state._replace(halved=jnp.ones(4, bool))
    moved = lib.auto_pgd._moved(again, jnp.ones_like(images), images, threat, lengths)
    np.testing.assert_allclose(moved.step_size, [0.2, 0.2, 0.1, 0.2], rtol=1e-6)


def more_runs_never_lose_an_example(lib, trained):
    """With a loss at odds with success, only the starts fool, and each start fools others."""
    f, (images, labels) = lib.logits_fn(trained.state), first(trained, 200)
    where, fooled = (images, labels, lib.Linf(0.3), jax.random.key(3)), []
    for restarts in (1, 2, 4, 8):
        how = {"steps": 3, "restarts": restarts, "loss": confidence}
        fooled.append(wrong(f, lib.apgd(f, *where, **how), labels))
    for fewer, more in pairwise(fooled):
        assert (more | ~fewer).all()
    assert fooled[0].sum() < fooled[-1].sum() < 0.95 * len(labels)


def apgd_targeted_breaks_a_network(lib, trained):
    """Towards the likeliest wrong class alone, more than half as many as without a target."""
    f, (images, labels) = lib.logits_fn(trained.state), first(trained, 100)
    for threat in (lib.Linf(0.1), lib.L2(2.0)):
        where = (f, images, labels, threat, jax.random.key(0))
        found = lib.apgd_targeted(*where, steps=20, targets=1)
        assert threat.contains(images, found).all()
        broken = wrong(f, found, labels).mean()
        untargeted, by_noise = (
            wrong(f, points, labels).mean()
            for points in (robustlib.apgd(*where, steps=20), robustlib.noise(*where))
        )
        print(f"{threat}: {broken}, {untargeted} without a target, {by_noise} by noise")
        assert untargeted > by_noise + 0.2 and broken > (untargeted + by_noise) / 2


def apgd_targeted_finds_the_worst_of_ten_classes(lib):
    """With a target's lead as loss: the maximum, over targets, of what ball and box allow."""
    rng, n = np.random.default_rng(0), 24
    images = np.float32(rng.random((n, 5, 4, 1)))
    images[n // 2 :] = 0.4 + 0.2 * images[n // 2 :]  # away from the box
    weights, labels = np.float32(rng.normal(size=(10, 20))), np.zeros(n, np.int32)
    f = lib.logits_fn(_ten_linear_classes, weights)
    rows = np.float64(images).reshape(n, -1)
    for threat in (lib.Linf(0.1), lib.L2(0.4)):
        best = []
        for k in range(1, 10):
            slope = np.broadcast_to(np.float64(weights[k] - weights[0]), rows.shape)
            gain = oracles.steepest_value(rows, slope, float(threat.epsilon), threat.name)
            best.append((rows * slope).sum(axis=1) - 100 + gain)
        found = lib.apgd_targeted(f, images, labels, threat, jax.random.key(0), loss=_lead)
        reached = np.asarray(lib.margin(forward(f, found), labels))
        assert np.abs(reached - np.max(best, axis=0)).max() < 1e-2


def _ten_linear_classes(weights, images):
    """The first is so far ahead that nobody is fooled."""
    return images.reshape(len(images), -1) @ weights.T + 100 * jax.nn.one_hot(0, 10)[None]


def _lead(logits, labels, targets):
    at = jnp.arange(len(labels))
    return logits[at, targets] - logits[at, labels]


def more_targets_never_lose_an_example(lib, trained):
    """With a loss at odds with success, only the starts fool: one for each target, and nested."""
    f, (images, labels) = lib.logits_fn(trained.state), first(trained, 200)
    where, fooled = (images, labels, lib.Linf(0.3), jax.random.key(3)), []
    for targets in (1, 3, 9):
        found = lib.apgd_targeted(f, *where, steps=3, targets=targets, loss=_confidence_anyway)
        fooled.append(wrong(f, found, labels))
    for fewer, more in pairwise(fooled):
        assert (more | ~fewer).all()
    assert fooled[0].sum() < fooled[-1].sum() < 0.95 * len(labels)


def _confidence_anyway(logits, labels, targets):
    return confidence(logits, labels)


def square_reaches_the_optimum_of_a_linear_model(lib):
    """Every pixel can be reached, the last row and column too, and ends at its better corner."""
    rng = np.random.default_rng(0)
    images = np.float32(rng.random((6, 5, 4, 1)))
    images[3:] = 0.3 + 0.4 * images[3:]  # away from the box
    weights = np.float32(np.sign(rng.normal(size=(5, 4, 1))) * rng.uniform(1, 2, (5, 4, 1)))
    f, threat = lib.logits_fn(_two_linear_classes, weights), lib.Linf(0.15)
    found = lib.square(f, images, np.zeros(6, np.int32), threat, jax.random.key(0), queries=3000)
    best = np.clip(images + 0.15 * np.sign(weights), 0, 1)
    assert np.abs(np.asarray(found) - best).max() < 1e-6
    assert threat.contains(images, found).all()


def square_nears_the_optimum_of_a_linear_model_in_l2(lib):
    """Without the box and with it: never beyond the optimum, and most of the way to it."""
    rng = np.random.default_rng(0)
    weights, labels = np.float32(rng.normal(size=(6, 6, 1))), np.zeros(20, np.int32)
    f, threat = lib.logits_fn(_two_linear_classes, weights), lib.L2(0.4)
    for images in np.float32([rng.random((20, 6, 6, 1)), rng.uniform(0.4, 0.6, (20, 6, 6, 1))]):
        rows = [np.float64(a).reshape(20, -1) for a in (images, 0 * images + weights)]
        best = oracles.steepest_value(*rows, 0.4, "l-2")
        found = lib.square(f, images, labels, threat, jax.random.key(0), queries=3000)
        gained = ((np.float64(found) - images) * weights).sum(axis=(1, 2, 3))
        assert threat.contains(images, found).all()
        assert (gained <= best + 1e-4).all()
        assert (gained >= 0.65 * best).all() and (gained / best).mean() > 0.75


def square_never_loses_ground(lib, trained):
    """More queries of the same search never lower the margin, in one go or in pieces."""
    f, (images, labels) = lib.logits_fn(trained.state), first(trained, 50)
    keys = jax.random.split(jax.random.key(0), 50)
    for threat in (lib.Linf(0.05), lib.L2(0.7)):
        sides = lib.square_attack.square_sides(60, images.shape, threat)
        state, margins = lib.square_attack.start(images, threat, keys), []
        for _ in range(6):
            where = (f, images, labels, threat, keys, state, sides)
            state = lib.square_attack.advance(*where, 10)
            margins.append(np.asarray(robustlib.margin(forward(f, state.best), labels)))
        assert (np.diff(margins, axis=0) >= -1e-4).all()
        assert margins[-1].mean() > margins[0].mean()
        whole = lib.square(f, images, labels, threat, keys, queries=60)
        assert np.abs(np.asarray(whole) - np.asarray(state.best)).max() < 1e-6


def square_reaches_every_row_and_column(lib, trained):
    """After a hundred queries, each of them differs from the stripes in some image."""
    f, (images, labels) = lib.logits_fn(trained.state), first(trained, 100)
    where = (images, labels, lib.Linf(0.02), jax.random.key(0))
    stripes, found = (np.asarray(lib.square(f, *where, queries=n)) for n in (1, 100))
    changed = (found != stripes).any(axis=(0, 3))
    assert changed.any(axis=0).all() and changed.any(axis=1).all()


def square_breaks_a_network(lib, trained):
    f, (images, labels) = lib.logits_fn(trained.state), first(trained, 50)
    key, broken = jax.random.key(0), {}
    for threat in (lib.Linf(0.1), lib.L2(2.0)):
        for queries in (1, 200):
            found = lib.square(f, images, labels, threat, key, queries=queries)
            assert threat.contains(images, found).all()
            broken[threat.name, queries] = wrong(f, found, labels).mean()
    print(broken)
    for name in ("l-inf", "l-2"):
        assert broken[name, 200] > broken[name, 1] + 0.2


def _ensemble_of(lib, f, images, labels, epsilon):
    """Return what a small ensemble leaves: who is right, and the outcome."""
    logits = np.asarray(forward(f, images))
    clean = logits.argmax(axis=1) == labels
    problem = lib.search.Problem(f, images, labels, lib.Linf(epsilon), logits)
    members = [
        lib.ensemble.Square("Square", steps=100),
        lib.ensemble.AutoPGD("CE", steps=10),
        lib.ensemble.AutoPGD("nothing falls", steps=10, loss=confidence),
    ]
    key = jax.random.key(0)
    return clean, lib.ensemble.attack(members, problem, clean, key, progress=False)


def the_ensemble_counts_the_worst_case(lib, cnn):
    """What stands is what each attack leaves of what those before it left, and no less."""
    clean, outcome = _ensemble_of(lib, lib.logits_fn(cnn.state), *first(cnn, 300), 0.08)
    left = [clean.sum(), *(result.correct for result in outcome.results)]
    assert [result.tried for result in outcome.results] == left[:-1]
    assert left == sorted(left, reverse=True) and outcome.standing.sum() == left[-1]
    assert not (outcome.standing & ~clean).any()
    assert 0.1 * left[0] < left[2] < left[1] < 0.95 * left[0]
    passes = [result.gradient_passes + result.queries for result in outcome.results]
    print(left, passes)
    for i, n in enumerate((100, 11, 11)):
        assert left[i + 1] * n <= passes[i] <= left[i] * n


def an_ensemble_counts_what_it_has_checked(lib, cnn):
    """A model that is wrong in batches of one size fools the attack, and not the second look."""
    f = lib.logits_fn(_wrong_in_batches, lib.logits_fn(cnn.state))
    clean, outcome = _ensemble_of(lib, f, *first(cnn, 300), 0.0)
    assert clean.mean() > 0.9 and (outcome.standing == clean).all()
    assert outcome.unconfirmed >= clean.sum()


def _wrong_in_batches(f, images):
    return -f(images) if len(images) == 256 else f(images)


# ---- threat models ------------------------------------------------------------------------------


project = jax.jit(lambda threat, images, points: threat.project(images, points))
steepest = jax.jit(lambda threat, points, g, size: threat.steepest(points, g, size))


def threat_cases(threat, shape, rng):
    """Return images, points [N, ...] and a name each: where the point lies, what meets the box."""
    images, points, names = [], [], []
    for where, size in (("inside", 0.5), ("on", 1.0), ("outside", 3.0)):
        for box in ("none", "some", "all"):
            direction = rng.normal(size=shape)
            middle, corner = np.full(shape, 0.5), (direction > 0).astype(float)
            image = {
                "none": middle,
                "some": np.where(rng.random(shape) < 0.5, middle, corner),
                "all": corner,
            }[box]
            order = {"l-inf": np.inf, "l-2": 2, "l-1": 1}[threat.name]
            length = np.linalg.norm(direction.ravel(), order)
            images.append(image)
            points.append(image + direction / length * size * float(threat.epsilon))
            names.append(f"{where} the ball, box met by {box}")
    return np.float32(images), np.float32(points), names


def projection_is_nearest(lib, shape=(5, 4, 3)):
    for threat in (lib.Linf(0.15), lib.L2(0.15), lib.L1(0.6)):
        images, points, names = threat_cases(threat, shape, np.random.default_rng(0))
        found = np.asarray(project(threat, images, points))
        rows = [np.float64(a).reshape(len(names), -1) for a in (images, points, found)]
        nearest = oracles.nearest(rows[0], rows[1], threat.epsilon, threat.name)
        for name, mine, best in zip(names, rows[2], nearest, strict=True):
            assert np.abs(mine - best).max() < 1e-5, (threat.name, name)
        assert threat.contains(images, found).all()
        again = np.asarray(project(threat, images, found))
        assert np.abs(again - found).max() < 1e-6
        inside = threat.contains(images, points)
        np.testing.assert_allclose(found[inside], points[inside], atol=1e-6)


def steepest_step_is_optimal(lib, shape=(5, 4, 3), scale=1.0):
    for threat in (lib.Linf(0.15), lib.L2(0.15), lib.L1(0.6)):
        for step_size in (0.05, 0.6, 4.0):
            points, gradients, names = threat_cases(threat, shape, np.random.default_rng(1))
            gradients = gradients - points
            points = np.clip(points, 0, 1)
            moved = np.asarray(steepest(threat, points, gradients * np.float32(scale), step_size))
            assert type(threat)(step_size).contains(points, moved).all(), threat.name
            rows = [np.float64(a).reshape(len(names), -1) for a in (points, gradients, moved)]
            best = oracles.steepest_value(rows[0], rows[1], step_size, threat.name)
            gained = (rows[1] * (rows[2] - rows[0])).sum(axis=1)
            largest = np.abs(rows[1]).sum(axis=1)
            for name, gain, value, of in zip(names, gained, best, largest, strict=True):
                assert gain >= value * (1 - 1e-4) - 1e-7 * of, (threat.name, name, step_size)


# ---- training -----------------------------------------------------------------------------------


def adversarial_step_is_the_textbooks(lib, cnn):
    """To 1e-5 where the batch size is a power of two, so that the mean's gradient is exact.

    Elsewhere rounding decides a few signs, in pixels whose gradient is 1e-9 of a typical one.
    """
    images, labels = first(cnn, 128)
    batch = {"image": images, "label": labels}
    for epsilon, weight in ((0.1, 0.5), (0.3, 0.2)):
        found = gradient_of(lib.adversarial_train_step, cnn.state, batch, epsilon, weight=weight)
        expected = gradient_of(textbook_step, cnn.state, batch, epsilon, weight)
        difference = relative_difference(found, expected)
        print(f"epsilon {epsilon}, weight {weight}: gradients differ by {difference:.1e}")
        assert difference < 1e-5


def adversarial_step_survives_confidence_and_company(lib, cnn):
    """Logits times 20 and a batch of 1,000: the mean's gradient would leave images unattacked."""
    images, labels = cnn.split.images, cnn.split.labels
    state = cnn.state.replace(apply_fn=_sure_of_itself(cnn.state.apply_fn))
    batch = {"image": images, "label": labels}
    found = gradient_of(lib.adversarial_train_step, state, batch, 0.1, weight=1.0)

    def loss(params, points):
        return cross_entropy(state.apply_fn({"params": params}, points), labels).mean()

    f = lib.logits_fn(state)
    gradient = np.asarray(loss_gradient(f, images, labels, cross_entropy))
    points = np.clip(images + np.float32(0.1) * np.sign(gradient), 0, 1)
    expected = jax.jit(jax.grad(loss))(state.params, points)
    difference = relative_difference(found, expected)
    print(f"gradients differ by {difference:.1e}")
    assert difference < 1e-3


@cache
def _sure_of_itself(apply_fn):
    return lambda variables, images: 20 * apply_fn(variables, images)


def minmax_holds_its_images_constant(lib, cnn, state=None):
    """In l-2, where the attack's own derivative is not zero; by default on a perceptron."""
    images, labels = first(cnn, 32)
    state = state or lib.create_state(lib.MLP(hidden=(32,)), jax.random.key(0), images)
    threat, key = lib.L2(1.5), jax.random.key(5)
    keys = jnp.stack([jax.random.fold_in(key, i) for i in range(len(images))])
    start = threat.sample(images, keys)

    def attacked(params):
        f = partial(state.apply_fn, {"params": params})
        gradient = jax.grad(lambda x: cross_entropy(f(x), labels).sum())(start)
        return threat.project(images, threat.steepest(start, gradient, 2.5 * threat.epsilon))

    def loss(params, points):
        logits = state.apply_fn({"params": params}, points)
        return cross_entropy(logits, labels).mean()

    @jax.jit
    def step(state, key):
        batch = {"image": images, "label": labels}
        return lib.MinMax(threat, steps=1)(state, batch, key, progress=1.0)[1]

    params, found = state.params, step(state, key)
    expected = jax.jit(jax.grad(loss))(params, jax.jit(attacked)(params))
    assert relative_difference(found, expected) < 1e-4


def epsilon_is_ramped(lib, cnn):
    images, labels = first(cnn, 32)
    batch, key = {"image": images, "label": labels}, jax.random.key(5)
    state = lib.create_state(lib.MLP(hidden=(32,)), key, images)
    for ramped, full in (
        (lib.Mixed(0.2, ramp=0.5), lib.Mixed(0.1)),
        (lib.MinMax(lib.Linf(0.2), steps=2, ramp=0.5), lib.MinMax(lib.Linf(0.1), steps=2)),
    ):
        loss = jax.jit(lambda objective, progress: objective(state, batch, key, progress)[0][0])
        half_way, at_half = float(loss(ramped, 0.25)), float(loss(full, 1.0))
        assert half_way == np.float32(at_half)
        assert float(loss(ramped, 0.5)) == float(loss(ramped, 1.0)) > half_way


# ---- evaluation ---------------------------------------------------------------------------------


def _fgsm_on(lib, chosen):
    """FGSM on the images whose label is among `chosen`; the others are returned as they are."""

    def attack(f, images, labels, threat, keys):
        moved = lib.fgsm(f, images, labels, threat)
        return jnp.where(np.isin(labels, chosen)[:, None, None, None], moved, images)

    return attack


def an_example_counts_only_if_nothing_breaks_it(lib, cnn):
    f, (images, labels) = lib.logits_fn(cnn.state), first(cnn, 250)
    split = SimpleNamespace(images=images, labels=labels)
    low, high = range(5), range(5, 10)
    halves = {"low": _fgsm_on(lib, low), "high": _fgsm_on(lib, high)}
    standing = ~wrong(f, np.asarray(lib.fgsm(f, images, labels, lib.Linf(0.1))), labels)
    standing &= ~wrong(f, images, labels)
    key = jax.random.key(0)
    share = lib.robust_accuracy(f, split, lib.Linf(0.1), key, attacks=halves)
    assert abs(share * len(labels) - standing.sum()) <= 1


def the_report_counts_so_too(lib, cnn):
    f, (images, labels) = lib.logits_fn(cnn.state), first(cnn, 250)
    split, key = SimpleNamespace(images=images, labels=labels), jax.random.key(0)
    halves = {"low": _fgsm_on(lib, range(5)), "high": _fgsm_on(lib, range(5, 10))}
    report = lib.evaluate_robustness(f, split, lib.Linf(0.1), key, attacks=halves)
    lost = [report.clean_correct - attack.correct for attack in report.attacks]
    assert min(lost) > 0 and report.robust_correct == report.clean_correct - sum(lost)


def an_image_outside_the_ball_breaks_nothing(lib, cnn):
    f, (images, labels) = lib.logits_fn(cnn.state), first(cnn, 250)
    split = SimpleNamespace(images=images, labels=labels)
    cheat = {"cheat": lambda f, images, labels, threat, keys: 1 - images}
    clean = lib.accuracy(f, split)
    assert lib.robust_accuracy(f, split, lib.Linf(0.1), jax.random.key(0), attacks=cheat) == clean
    report = lib.evaluate_robustness(f, split, lib.Linf(0.1), jax.random.key(0), attacks=cheat)
    assert report.robust_accuracy == clean
    assert any("250 adversarial images did not pass" in flag for flag in report.flags)


def a_start_depends_on_the_index_alone(lib, cnn):
    f, (images, labels) = lib.logits_fn(cnn.state), first(cnn, 450)
    seen = []

    def recording(f, images, labels, threat, keys):
        seen.append(np.asarray(jax.random.key_data(keys)))
        return images

    for n in (450, 230):
        split = SimpleNamespace(images=images[:n], labels=labels[:n])
        lib.robust_accuracy(
            f, split, lib.Linf(0.1), jax.random.key(7), attacks={"recording": recording}
        )
    long, short = np.concatenate(seen[:3])[:450], np.concatenate(seen[3:])[:230]
    assert (long[:230] == short).all()
    assert len(np.unique(long, axis=0)) == 450
