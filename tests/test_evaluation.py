"""Accuracy and robust accuracy: worst case per example, whatever the batches."""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import robustlib
from robustlib import L2, Linf, apgd, batches, evaluation, fgsm, noise, pgd, square
from tests import properties
from tests.properties import first, wrong


def split_of(cnn, n):
    images, labels = first(cnn, n)
    return SimpleNamespace(images=images, labels=labels)


def test_an_example_counts_only_if_nothing_breaks_it(cnn):
    properties.an_example_counts_only_if_nothing_breaks_it(robustlib, cnn)


def test_the_report_counts_so_too(cnn):
    properties.the_report_counts_so_too(robustlib, cnn)


def test_an_image_outside_the_ball_breaks_nothing(cnn):
    properties.an_image_outside_the_ball_breaks_nothing(robustlib, cnn)


def test_a_start_depends_on_the_index_alone(cnn):
    properties.a_start_depends_on_the_index_alone(robustlib, cnn)


@pytest.mark.parametrize("n", [1, 200, 450])
def test_accuracy_is_a_mean(cnn, n):
    split = split_of(cnn, n)
    f = robustlib.logits_fn(cnn.state)
    expected = 1 - wrong(f, split.images, split.labels).mean()
    assert robustlib.accuracy(f, split) == expected


def test_the_last_batch_is_filled_up_and_nothing_changes(cnn):
    split, f, key = split_of(cnn, 250), robustlib.logits_fn(cnn.state), jax.random.key(0)
    sizes = []

    def watched(f, images, labels, threat, keys):
        sizes.append((len(images), len(labels), len(keys)))
        return pgd(f, images, labels, threat, keys, steps=5)

    share = robustlib.robust_accuracy(f, split, Linf(0.1), key, attacks={"PGD": watched})
    assert sizes == [(200, 200, 200)] * 2
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(np.arange(250))
    standing = np.concatenate(
        [
            ~wrong(
                f,
                pgd(f, split.images[r], split.labels[r], Linf(0.1), keys[r], steps=5),
                split.labels[r],
            )
            for r in (slice(0, 200), slice(50, 250))
        ]
    )
    standing = np.concatenate([standing[:200], standing[350:]])
    assert share == (standing & ~wrong(f, split.images, split.labels)).mean()


@pytest.mark.parametrize("n, sizes", [(3, [16]), (65, [128]), (201, [200, 200])])
def test_an_attack_sees_batches_of_few_sizes(cnn, n, sizes):
    """How many images a model gets right differs; each number would be compiled alone."""
    seen = []

    def attack(logits_fn, images, labels, threat, keys):
        seen.append(images.shape[0])
        return images

    split, f = split_of(cnn, n), robustlib.logits_fn(cnn.state)
    robustlib.robust_accuracy(f, split, Linf(0.1), jax.random.key(0), attacks={"none": attack})
    assert seen == sizes


def test_few_sizes_of_a_batch_are_compiled(cnn, compilations):
    """How many images fell differs from attack to attack; each number would be compiled alone."""
    split, f = split_of(cnn, 100), robustlib.logits_fn(cnn.state)
    for n in (20, 70):
        batches.all_logits(f, split.images[:n])
    before = compilations()
    for n in (17, 64, 65, 100):
        logits = batches.all_logits(f, split.images[:n])
        assert len(logits) == n
    assert compilations() == before
    np.testing.assert_allclose(logits, f(split.images), atol=1e-4)


def test_images_and_labels_may_lie_on_the_device(cnn, uncompared):
    split, f = split_of(cnn, 30), robustlib.logits_fn(cnn.state)
    on_device = SimpleNamespace(images=jnp.asarray(split.images), labels=jnp.asarray(split.labels))
    for attacks in (None, "quick"):
        how = {"attacks": attacks, "progress": False}
        reports = [
            robustlib.evaluate_robustness(f, each, Linf(0.1), jax.random.key(0), **how)
            for each in (split, on_device)
        ]
        assert reports[0].robust_correct == reports[1].robust_correct


def test_an_image_misclassified_anyway_is_not_robust(cnn):
    split = split_of(cnn, 250)
    wrong_labels = SimpleNamespace(images=split.images, labels=(split.labels + 1) % 10)
    f = robustlib.logits_fn(cnn.state)
    clean = robustlib.accuracy(f, wrong_labels)
    share = robustlib.robust_accuracy(
        f, wrong_labels, Linf(0.0), jax.random.key(0), attacks={"noise": noise}
    )
    assert share == clean < 0.1


def test_robust_accuracy_falls_with_epsilon_and_with_attacks(cnn):
    split, f, key = split_of(cnn, 250), robustlib.logits_fn(cnn.state), jax.random.key(0)
    five = partial(pgd, steps=5)

    def robust(epsilon, **chosen):
        return robustlib.robust_accuracy(f, split, Linf(epsilon), key, attacks=chosen)

    clean = robustlib.accuracy(f, split)
    assert clean == robust(0.0, noise=noise)
    assert clean > robust(0.05, FGSM=fgsm) > robust(0.1, FGSM=fgsm) > robust(0.1, PGD=five)
    assert robust(0.1, PGD=five) >= robust(0.1, FGSM=fgsm, PGD=five)


def test_the_standard_attacks_are_fgsm_and_pgd_with_restarts():
    cost = {
        name: evaluation.steps_and_restarts(attack)
        for name, attack in evaluation.STANDARD_ATTACKS.items()
    }
    assert cost == {"FGSM": (1, 1), "PGD-40, 10 restarts": (40, 10)}
    assert evaluation.steps_and_restarts(noise) == (0, 0)
    assert evaluation.steps_and_restarts(pgd) == (40, 1)
    assert evaluation.steps_and_restarts(partial(fgsm, targeted=True)) == (1, 1)
    assert evaluation.steps_and_restarts(lambda *arguments: pgd(*arguments)) == (None, None)


def test_the_report_says_what_was_done(cnn):
    split, f = split_of(cnn, 250), robustlib.logits_fn(cnn.state)
    chosen = {"noise": noise, "FGSM": fgsm, "PGD": partial(pgd, steps=5, restarts=2)}
    report = robustlib.evaluate_robustness(f, split, Linf(0.1), jax.random.key(7), attacks=chosen)
    assert (report.threat, report.seed, report.examples) == ("l-inf, epsilon 0.1", "0:7", 250)
    assert report.clean_accuracy == robustlib.accuracy(f, split)
    assert report.robust_accuracy == robustlib.robust_accuracy(
        f, split, Linf(0.1), jax.random.key(7), attacks=chosen
    )
    costs = [(a.name, a.steps, a.restarts, a.gradient_passes) for a in report.attacks]
    assert costs == [("noise", 0, 0, 0), ("FGSM", 1, 1, 250), ("PGD", 5, 2, 2500)]
    assert report.gradient_passes == 2750
    assert report.seconds >= sum(a.seconds for a in report.attacks) > 0
    # An honest evaluation of an honest network lacks nothing but a baseline.
    (flag,) = report.flags
    assert "No undefended model was evaluated beside this one" in flag
    again = robustlib.evaluate_robustness(
        f, split, Linf(0.1), jax.random.key(7), attacks=chosen, baseline=report
    )
    assert again.flags == () and again.baseline == report.robust_accuracy


def test_auto_pgd_by_name_counts_the_gradient_at_its_last_point(cnn):
    split, f = split_of(cnn, 20), robustlib.logits_fn(cnn.state)
    chosen = {"Auto-PGD": partial(apgd, steps=5, restarts=2)}
    report = robustlib.evaluate_robustness(f, split, Linf(0.1), jax.random.key(0), attacks=chosen)
    assert report.gradient_passes == 6 * 2 * 20


def test_a_model_without_gradients_gets_its_report_and_is_told_what_was_not_checked(cnn):
    """A while loop has no gradient backwards; what Square Attack found is not lost with it."""
    split, f = split_of(cnn, 40), robustlib.logits_fn(cnn.state)

    def looped(images):
        return jax.lax.while_loop(lambda c: c[0] < 1, lambda c: (1, f(images)), (0, f(images)))[1]

    chosen = {"Square": partial(square, queries=200)}
    where = (split, Linf(0.2), jax.random.key(0))
    report = robustlib.evaluate_robustness(looped, *where, attacks=chosen)
    honest = robustlib.evaluate_robustness(f, *where, attacks=chosen)
    assert report.robust_correct == honest.robust_correct < report.clean_correct
    assert "ended in an error (ValueError: Reverse-mode differentiation" in report.flags[0]
    far = {"too far": lambda f, images, *_: 1 - images}
    outside, ended, *_ = robustlib.evaluate_robustness(looped, *where, attacks=far).flags
    assert outside.startswith("40 adversarial images did not pass") and "ended in an" in ended


@pytest.mark.parametrize("chosen", [{10: pgd}, {"PGD": "pgd"}, {}, [pgd]])
def test_attacks_that_are_none_are_refused(cnn, chosen):
    split, f = split_of(cnn, 20), robustlib.logits_fn(cnn.state)
    with pytest.raises(TypeError, match="attacks must be a dict from names to attacks"):
        robustlib.evaluate_robustness(f, split, Linf(0.1), jax.random.key(0), attacks=chosen)


def test_the_name_of_an_ensemble_is_refused_where_only_attacks_by_name_go(cnn):
    split, f = split_of(cnn, 20), robustlib.logits_fn(cnn.state)
    with pytest.raises(TypeError, match=r"take evaluate_robustness\(..., attacks='quick'\)"):
        robustlib.robust_accuracy(f, split, Linf(0.1), jax.random.key(0), attacks="quick")


def test_evaluation_compiles_once(cnn, compilations):
    f, key = robustlib.logits_fn(cnn.state), jax.random.key(0)
    later = cnn.state.replace(params=jax.tree.map(lambda w: w * 0.9, cnn.state.params))
    chosen = {"PGD": partial(pgd, steps=5)}

    def evaluate(f, n, epsilon, **chosen):
        split = split_of(cnn, n)
        robustlib.accuracy(f, split)
        return robustlib.robust_accuracy(f, split, Linf(epsilon), key, attacks=chosen)

    evaluate(f, 250, 0.1, **chosen)
    evaluate(f, 450, 0.1, **chosen)  # as many keys again are made for as many examples
    before = compilations()
    evaluate(robustlib.logits_fn(later), 450, 0.2, PGD=partial(pgd, steps=4, restarts=2))
    assert compilations() == before


def test_l2_works_too(cnn):
    split, f, key = split_of(cnn, 200), robustlib.logits_fn(cnn.state), jax.random.key(0)
    robust = robustlib.robust_accuracy(f, split, L2(1.5), key, attacks={"FGSM": fgsm})
    assert robust < robustlib.accuracy(f, split) - 0.2
