"""The training loop: the same bits each time, whatever the chunks; what it counts and keeps."""

import hashlib
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import optax
import pytest

import robustlib
from robustlib import Linf, MinMax, Mixed, Standard, fit, fitting

ROOT = Path(__file__).parents[1]
MODEL, SMALLER, OPTIMIZER = robustlib.SmallCNN(), robustlib.MLP(hidden=(8,)), optax.adam(2e-3)
MIN_MAX = MinMax(Linf(0.2), steps=2, ramp=0.5)


def a_fit(objective=MIN_MAX, seed=1, model=MODEL, **how):
    split = robustlib.load_dataset("mnist_small").train.spread(330)
    state = robustlib.create_state(model, jax.random.key(0), split.images, OPTIMIZER)
    how = {"epochs": 2, "batch_size": 32, "progress": False, **how}
    return fit(state, split, objective, jax.random.key(seed), **how)


def bits(result):
    digest = hashlib.sha256(result.losses.tobytes() + result.accuracies.tobytes())
    for array in jax.tree.leaves(result.state.params):
        digest.update(np.asarray(array).tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def trained():
    return a_fit()


# ---- reproducible -------------------------------------------------------------------------------


def test_two_runs_give_the_same_bits(trained):
    assert bits(a_fit()) == bits(trained)
    assert bits(a_fit(seed=2)) != bits(trained)


def test_two_processes_give_the_same_bits(trained):
    program = "from tests.test_fitting import a_fit, bits; print(bits(a_fit()))"
    other = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == bits(trained)


@pytest.mark.parametrize("seconds", [0.0, 0.02, 100.0])
def test_the_chunks_change_nothing(trained, seconds, monkeypatch):
    stops = []
    train = fitting._train

    def watched(*args):
        stops.append(args[-1])
        return train(*args)

    monkeypatch.setattr(fitting, "_CHUNK_SECONDS", seconds)
    monkeypatch.setattr(fitting, "_train", watched)
    assert bits(a_fit()) == bits(trained)
    assert stops[:2] == [1, 9] and stops[-1] == 20
    assert len(stops) == 13 if seconds == 0 else len(stops) < 13


# ---- what it does -------------------------------------------------------------------------------


def test_fit_is_steps_over_shuffled_whole_batches(trained):
    """Written with the public steps: one epoch is a permutation, the rest of ten left out."""
    order_key, attack_key = jax.random.split(jax.random.key(1))
    order = np.asarray(fitting._batches(order_key, 330, 2, 32))
    assert order.shape == (20, 32)
    for epoch in (order[:10], order[10:]):
        assert len(np.unique(epoch)) == 320
    assert (order[:10] != order[10:]).any()
    split = robustlib.load_dataset("mnist_small").train.spread(330)
    state = robustlib.create_state(MODEL, jax.random.key(0), split.images, OPTIMIZER)
    for t, rows in enumerate(order[:4]):
        batch = {"image": split.images[rows], "label": split.labels[rows]}
        epsilon = 0.2 * min(1, (t + 1) / 20 / 0.5)
        state = robustlib.pgd_train_step(
            state, batch, jax.random.fold_in(attack_key, t), Linf(np.float32(epsilon)), steps=2
        )
    f = robustlib.logits_fn(state)
    loss = robustlib.cross_entropy(f(split.images[:32]), split.labels[:32]).mean()
    four = a_fit_stopped_after(4)
    expected = robustlib.cross_entropy(
        robustlib.logits_fn(four)(split.images[:32]), split.labels[:32]
    ).mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-3)


def a_fit_stopped_after(steps):
    """Return the state that the fit above has after a number of steps."""
    split = robustlib.load_dataset("mnist_small").train.spread(330)
    state = robustlib.create_state(MODEL, jax.random.key(0), split.images, OPTIMIZER)
    order_key, attack_key = jax.random.split(jax.random.key(1))
    state, _ = fitting._train(
        state,
        np.zeros((20, 2), np.float32),
        split.images,
        split.labels,
        fitting._batches(order_key, 330, 2, 32),
        MinMax(Linf(0.2), steps=2, ramp=0.5),
        attack_key,
        0,
        steps,
    )
    return state


def test_its_history(trained):
    for metric in (trained.losses, trained.accuracies):
        assert metric.shape == (20,) and metric.dtype == np.float32
    assert np.isfinite(trained.losses).all() and trained.losses[0] == pytest.approx(2.3, abs=0.2)
    assert trained.seconds > 0 and not trained.interrupted
    assert int(trained.state.step) == 20


@pytest.mark.parametrize(
    ("objective", "passes"), [(Standard(), 1), (Mixed(0.1), 2), (MinMax(Linf(0.1), 2), 3)]
)
def test_it_counts_gradient_passes(objective, passes):
    result = a_fit(objective, epochs=1, model=SMALLER)
    assert result.gradient_passes == passes * 10 * 32


def test_its_metrics_are_those_of_the_batch_before_the_step():
    split = robustlib.load_dataset("mnist_small").train.spread(330)
    state = robustlib.create_state(MODEL, jax.random.key(0), split.images, OPTIMIZER)
    rows = fitting._batches(jax.random.split(jax.random.key(1))[0], 330, 1, 110)[0]
    batch = {"image": split.images[rows], "label": split.labels[rows]}
    clean, attacked = (
        robustlib.logits_fn(state)(images)
        for images in (batch["image"], robustlib.fgsm_attack(state, batch, 0.2))
    )
    shares = [float((z.argmax(axis=1) == batch["label"]).mean()) for z in (clean, attacked)]
    losses = [float(robustlib.cross_entropy(z, batch["label"]).mean()) for z in (clean, attacked)]
    assert shares[0] > shares[1]
    for objective, weights in ((Standard(), (1, 0)), (Mixed(0.2, 0.25), (0.75, 0.25))):
        result = a_fit(objective, epochs=1, batch_size=110)
        np.testing.assert_allclose(result.losses[0], np.dot(weights, losses), rtol=1e-5)
        np.testing.assert_allclose(result.accuracies[0], np.dot(weights, shares), rtol=1e-5)


def test_an_interrupt_keeps_the_last_chunk(trained, monkeypatch, capsys):
    train, states = fitting._train, []

    def interrupted(*args):
        if len(states) == 2:
            raise KeyboardInterrupt
        states.append(train(*args))
        return states[-1]

    monkeypatch.setattr(fitting, "_train", interrupted)
    result = a_fit()
    assert result.interrupted
    assert "Stopped after 9 of 20 steps; the state so far is kept." in capsys.readouterr().out
    assert result.state is states[-1][0] and int(result.state.step) == 9
    np.testing.assert_array_equal(result.losses, trained.losses[:9])
    np.testing.assert_array_equal(result.accuracies, trained.accuracies[:9])
    assert result.gradient_passes == 3 * 9 * 32


def test_an_interrupt_between_chunks_loses_nothing(trained, monkeypatch):
    """Ctrl-C while the bar is drawn: state, history and counts are of one and the same step."""

    def interrupted(self, steps):
        if steps != 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(fitting.tqdm, "update", interrupted)
    result = a_fit()
    assert result.interrupted and int(result.state.step) == 9
    np.testing.assert_array_equal(result.losses, trained.losses[:9])


def test_a_loss_that_is_no_number_is_told(capsys):
    """The schedule in whole numbers of any kind: 30 * 10 batches do not fit into eight bits."""
    split = robustlib.load_dataset("mnist_small").train.spread(320)
    state = robustlib.create_state(SMALLER, jax.random.key(0), split.images, optax.sgd(1e30))
    how = {"epochs": np.uint8(30), "batch_size": np.uint8(32), "progress": False}
    result = fit(state, split, Standard(), jax.random.key(1), **how)
    assert not np.isfinite(result.losses[-1]) and result.accuracies[-1] == 0
    assert "The loss is NaN or infinite, and nothing is learned" in capsys.readouterr().out


def test_it_shows_its_progress(capsys):
    a_fit(Standard(), epochs=1, model=SMALLER)
    assert capsys.readouterr().err == ""
    a_fit(Standard(), epochs=1, model=SMALLER, progress=True)
    assert "0/10" in capsys.readouterr().err


def test_a_second_fit_compiles_nothing(trained, compilations):
    before = compilations()
    a_fit(MinMax(Linf(0.1), steps=3, ramp=0.2))
    assert compilations() == before


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"epochs": 0}, "epochs must be a whole number from 1, but is 0"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1, but is 0"),
        ({"batch_size": 331}, "at most the 330 examples of the split, but is 331: lower it"),
        ({"objective": "PGD"}, r"objective must be Standard\(\), .*but is 'PGD'"),
        ({"objective": MinMax(Linf(0.1), steps=0)}, "steps must be at least 1, but is 0"),
        ({"objective": MinMax(Linf(0.1), ramp=30)}, r"ramp must lie in \[0, 1\], but is 30: "),
        ({"objective": MinMax(Linf(0.1), ramp=np.ones(2))}, r"ramp must be one number, but has"),
        ({"objective": Mixed(0.1, weight=-0.5)}, r"weight must lie in \[0, 1\], but is -0.5: "),
    ],
)
def test_it_refuses(change, text):
    with pytest.raises((TypeError, ValueError), match=text):
        a_fit(**change)


def test_create_state(cnn):
    state = robustlib.create_state(MODEL, jax.random.key(0), cnn.split.images[:5])
    again = robustlib.create_state(MODEL, jax.random.key(0), cnn.split.images)
    jax.tree.map(np.testing.assert_array_equal, state.params, again.params)
    assert state.step.dtype == np.int32 and state.apply_fn == again.apply_fn
    with pytest.raises(ValueError, match=r"shape \[N, H, W, C\]"):
        robustlib.create_state(MODEL, jax.random.key(0), cnn.split.images[0])
