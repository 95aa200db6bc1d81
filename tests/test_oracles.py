"""An independent library beside ours: the same network, images, epsilon, steps and step size."""

import warnings

import jax
import numpy as np

import robustlib
from robustlib import Linf, pgd
from tests.properties import wrong

EPSILON, STEPS, STEP_SIZE = 0.07, 20, 0.01


def broken_by_foolbox(f, images, labels):
    """Return which images Foolbox's PGD breaks, through its JAX model."""
    with warnings.catch_warnings(), jax.numpy_rank_promotion("allow"):
        warnings.simplefilter("ignore")  # of its own imports
        import eagerpy
        import foolbox

        model = foolbox.models.JAXModel(jax.jit(f), bounds=(0, 1))
        attack = foolbox.attacks.LinfPGD(abs_stepsize=STEP_SIZE, steps=STEPS, random_start=True)
        arrays = eagerpy.astensors(jax.numpy.asarray(images), jax.numpy.asarray(labels))
        _, adversarial, success = attack(model, *arrays, epsilons=EPSILON)
    assert Linf(EPSILON).contains(images, adversarial.raw).all()
    return np.asarray(success.raw)


def test_foolbox_finds_the_same_robust_accuracy(cnn, capsys):
    f, images, labels = robustlib.logits_fn(cnn.state), cnn.split.images, cnn.split.labels
    found = pgd(
        f, images, labels, Linf(EPSILON), jax.random.key(0), steps=STEPS, step_size=STEP_SIZE
    )
    ours, theirs = wrong(f, found, labels).sum(), broken_by_foolbox(f, images, labels).sum()
    with capsys.disabled():  # so that the counts are seen
        print(f"\nof {len(labels)} images, robustlib breaks {ours}, Foolbox {theirs}")
    assert len(labels) >= 1000 and 0.3 < 1 - ours / len(labels) < 0.9
    assert abs(int(ours) - int(theirs)) <= 0.005 * len(labels)


def test_the_batch_size_changes_at_most_one_verdict_in_a_thousand(cnn):
    """Verdicts on 1,000 images: in one batch of 1,000, and in batches of 200."""
    f, images, labels = robustlib.logits_fn(cnn.state), cnn.split.images, cnn.split.labels
    keys, threat = jax.random.split(jax.random.key(1), 1000), Linf(EPSILON)

    def attack(rows):
        return pgd(f, images[rows], labels[rows], threat, keys[rows], steps=5)

    whole = attack(slice(None))
    parts = np.concatenate([attack(slice(i, i + 200)) for i in range(0, 1000, 200)])
    verdicts = [wrong(f, points, labels) for points in (whole, parts)]
    assert (verdicts[0] != verdicts[1]).sum() <= 1
