"""Bad input: each answered by one sentence, before the model is run, by every public function."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import robustlib
from robustlib import L1, L2, Linf, checks
from robustlib.training import check_objective

N, SHAPE = 8, (8, 4, 4, 1)
IMAGES = np.linspace(0, 1, N * 16, dtype=np.float32).reshape(SHAPE)
LABELS = np.arange(N, dtype=np.int32) % 3
KEY = jax.random.key(0)


def _ran(images):
    raise AssertionError("the model was run")


def never_run(images):
    """A model with three classes that can be traced, but not run."""
    out = jax.ShapeDtypeStruct((images.shape[0], 3), jnp.float32)
    return jax.pure_callback(_ran, out, jax.lax.stop_gradient(images))


@pytest.fixture(scope="module")
def state():
    return robustlib.create_state(robustlib.MLP(classes=3, hidden=(4,)), KEY, IMAGES)


def split(images, labels):
    return SimpleNamespace(images=images, labels=labels)


def batch(images, labels):
    return {"image": images, "label": labels}


# Each public function of images and labels, as (state, f, images, labels, threat) -> anything.
BY_VALUE = {
    "fgsm": lambda s, f, x, y, t: robustlib.fgsm(f, x, y, t),
    "pgd": lambda s, f, x, y, t: robustlib.pgd(f, x, y, t, KEY),
    "noise": lambda s, f, x, y, t: robustlib.noise(f, x, y, t, KEY),
    "apgd": lambda s, f, x, y, t: robustlib.apgd(f, x, y, t, KEY),
    "apgd_targeted": lambda s, f, x, y, t: robustlib.apgd_targeted(
        f, x, y, t, KEY, loss=lambda logits, labels, targets: robustlib.margin(logits, labels)
    ),
    "square": lambda s, f, x, y, t: robustlib.square(f, x, y, t, KEY),
    "an ensemble": lambda s, f, x, y, t: robustlib.evaluate_robustness(
        f, split(x, y), t, KEY, attacks="quick"
    ),
    "robust_accuracy": lambda s, f, x, y, t: robustlib.robust_accuracy(f, split(x, y), t, KEY),
    "evaluate_robustness": lambda s, f, x, y, t: robustlib.evaluate_robustness(
        f, split(x, y), t, KEY
    ),
    "fit": lambda s, f, x, y, t: robustlib.fit(
        s, split(x, y), robustlib.MinMax(t), KEY, epochs=1, batch_size=4, progress=False
    ),
    "fgsm_attack": lambda s, f, x, y, t: robustlib.fgsm_attack(s, batch(x, y), t.epsilon),
}
WITHOUT_THREAT = {
    "accuracy": lambda s, f, x, y, t: robustlib.accuracy(f, split(x, y)),
}
STEPS = {
    "standard_train_step": lambda s, f, x, y, t: robustlib.standard_train_step(s, batch(x, y)),
    "adversarial_train_step": lambda s, f, x, y, t: robustlib.adversarial_train_step(
        s, batch(x, y), t.epsilon
    ),
    "pgd_train_step": lambda s, f, x, y, t: robustlib.pgd_train_step(s, batch(x, y), KEY, t),
}
WRONG_SHAPES = {
    "bytes": (
        {"images": (IMAGES * 255).astype(np.uint8)},
        r"images must be floats in \[0, 1\], but are uint8: .*divide by 255\.",
    ),
    "integers": ({"images": (IMAGES * 255).astype(int)}, r"but are int64: .*divide by 255\."),
    "half precision": (
        {"images": IMAGES.astype(np.float16)},
        r"images must be float32, but are float16, .*astype\('float32'\)\.",
    ),
    "a list of images": ({"images": IMAGES.tolist()}, "but got a list: .*numpy.asarray"),
    "no channels": (
        {"images": IMAGES[..., 0]},
        r"images must have the shape \[N, H, W, C\], but have \(8, 4, 4\): .*\[\.\.\., None\]",
    ),
    "an empty batch": (
        {"images": IMAGES[:0], "labels": LABELS[:0]},
        r"at least one pixel of one example, but have the shape \(0, 4, 4, 1\): .*not empty",
    ),
    "one-hot labels": (
        {"labels": np.eye(3, dtype=np.int32)[LABELS]},
        r"labels must be class numbers .* \(8, 3\), as one-hot labels do: .*argmax\(axis=1\)",
    ),
    "a column of labels": (
        {"labels": LABELS[:, None]},
        r"labels must have the shape \[N\], but have \(8, 1\): .*labels\[:, 0\]",
    ),
    "one label in all": ({"labels": LABELS[0]}, r"labels must have the shape \[N\], but have \(\)"),
    "float labels": (
        {"labels": LABELS.astype(np.float32)},
        r"labels must be integers, but are float32: .*astype\('int32'\)",
    ),
    "a list of labels": ({"labels": LABELS.tolist()}, "integers .* got a list: .*numpy.asarray"),
    "fewer labels": (
        {"labels": LABELS[:5]},
        "same batch size, but there are 8 images and 5 labels: pass one label an image",
    ),
}
WRONG_VALUES = {
    "not divided": (
        {"images": IMAGES * 255},
        r"images must lie in \[0, 1\], but reach from 0 to 255: divide by 255\.",
    ),
    "normalised": ({"images": IMAGES * 2 - 1}, "from -1 to 1: divide grey levels by 255; undo any"),
    "NaN": ({"images": np.where(IMAGES > 0.99, np.nan, IMAGES)}, "images must be finite.*isfinite"),
    "infinite": ({"images": np.where(IMAGES > 0.99, np.inf, IMAGES)}, "images must be finite"),
    "a label too high": (
        {"labels": LABELS + 1},
        r"labels must lie in \[0, 3\), as the model has 3 classes, but reach from 1 to 3: .*from 0",
    ),
    "a label too low": ({"labels": LABELS - 1}, r"\[0, 3\).* reach from -1 to 1"),
}
EPSILONS = {
    "negative": (Linf(-0.1), r"epsilon must be a finite number of at least 0, but is -0\.1: "),
    "NaN": (Linf(float("nan")), "epsilon must be a finite number of at least 0, but is nan"),
    "grey levels": (Linf(8), r"at most 1 for l-inf, the whole pixel box, but is 8: .*8 / 255"),
    "nothing": (Linf(None), "epsilon must be a number, but is None: pass a float"),
    "in quotes": (Linf("0.3"), "epsilon must be a number, but is '0.3': pass a float"),
    "too long": (L2(4.1), r"at most 4 for l-2, the whole pixel box, but is 4\.1: .*the length"),
    "more than all": (L1(17), "at most 16 for l-1, the whole pixel box, but is 17: .* add up to"),
}
OF_OTHER_NORMS = "too long", "more than all"
NUMBERS = {
    "none": (0, "must be at least 1, but is 0"),
    "a half": (2.5, "must be a whole number, but is 2.5: pass an int"),
    "in quotes": ("40", "must be a whole number, but is '40': pass an int"),
    "several": (np.array([1, 2]), r"must be one number, but has the shape \(2,\): call once"),
}
COUNTED = [
    *((robustlib.pgd, "steps"), (robustlib.pgd, "restarts")),
    *((robustlib.apgd, "steps"), (robustlib.apgd, "restarts")),
    *((robustlib.apgd_targeted, "steps"), (robustlib.apgd_targeted, "targets")),
    (robustlib.square, "queries"),
]
STEP_SIZES = {
    "in quotes": ("0.1", "step_size must be a number, but is '0.1': pass"),
    "zero": (0, "step_size must be a finite number above 0, but is 0: "),
    "a step back": (-0.1, "step_size must be a finite number above 0, but is -0.1"),
    "several": (np.full(3, 0.1), r"step_size must be one number, but has the shape \(3,\): call"),
}
MODELS = {
    "one number an image": (lambda x: x.sum((1, 2, 3)), r"logits \[N, K\] with N = 8 .*\(8,\): "),
    "the classes": (lambda x: x.sum((2, 3)).argmax(1), r"returned \(8,\): .* an argmax"),
    "one row in all": (lambda x: x.sum((0, 2, 3))[None], r"N = 8 .* returned \(1, 4\)"),
    "one class": (lambda x: x.sum((1, 2, 3))[:, None], r"K at least 2, but returned \(8, 1\)"),
    "two outputs": (lambda x: (x, x), "returned no array: .* second output"),
    "integers": (lambda x: x.sum((2, 3)).astype(int), "must return floats, but returned int"),
}


def refused(call, text):
    """Assert that the call fails with this sentence: the thing, what was expected, what to do."""
    with pytest.raises((TypeError, ValueError), match=text) as found:
        call()
    assert str(found.value).endswith(".") and "\n" not in str(found.value)
    assert ": " in str(found.value)


def with_defaults(change):
    return {"images": IMAGES, "labels": LABELS, **change}.values()


@pytest.mark.parametrize("bad", WRONG_SHAPES)
@pytest.mark.parametrize("name", BY_VALUE | WITHOUT_THREAT | STEPS)
def test_wrong_shapes_and_types(name, bad, state):
    change, text = WRONG_SHAPES[bad]
    function = (BY_VALUE | WITHOUT_THREAT | STEPS)[name]
    refused(lambda: function(state, never_run, *with_defaults(change), Linf(0.1)), text)


@pytest.mark.parametrize("where", [np.asarray, jnp.asarray])
@pytest.mark.parametrize("bad", WRONG_VALUES)
@pytest.mark.parametrize("name", BY_VALUE | WITHOUT_THREAT)
def test_wrong_values_also_on_the_device(name, bad, where, state):
    change, text = WRONG_VALUES[bad]
    change = {key: where(value) for key, value in change.items()}
    function = (BY_VALUE | WITHOUT_THREAT)[name]
    refused(lambda: function(state, never_run, *with_defaults(change), Linf(0.1)), text)


TAKES_ANY_THREAT = [name for name in BY_VALUE if name != "fgsm_attack"] + ["pgd_train_step"]
TAKES_EPSILON = ["fgsm_attack", "adversarial_train_step"]


@pytest.mark.parametrize(
    ("name", "bad"),
    [(name, bad) for name in TAKES_ANY_THREAT for bad in EPSILONS]
    + [(name, bad) for name in TAKES_EPSILON for bad in EPSILONS if bad not in OF_OTHER_NORMS],
)
def test_wrong_epsilons(name, bad, state):
    threat, text = EPSILONS[bad]
    function = (BY_VALUE | STEPS)[name]
    refused(lambda: function(state, never_run, IMAGES, LABELS, threat), text)


@pytest.mark.parametrize("bad", NUMBERS)
@pytest.mark.parametrize(("attack", "name"), COUNTED)
def test_wrong_numbers(attack, name, bad):
    number, text = NUMBERS[bad]
    where = (never_run, IMAGES, LABELS, Linf(0.1), KEY)
    refused(lambda: attack(*where, **{name: number}), f"{name} {text}")


@pytest.mark.parametrize("bad", STEP_SIZES)
def test_wrong_step_sizes(bad):
    size, text = STEP_SIZES[bad]
    where = (never_run, IMAGES, LABELS, Linf(0.1), KEY)
    refused(lambda: robustlib.pgd(*where, step_size=size), text)


@pytest.mark.parametrize("bad", MODELS)
@pytest.mark.parametrize("name", BY_VALUE | WITHOUT_THREAT | STEPS)
def test_models_that_return_something_else(name, bad, state):
    model, text = MODELS[bad]
    odd = state.replace(apply_fn=lambda params, images: model(images))
    function = (BY_VALUE | WITHOUT_THREAT | STEPS)[name]
    refused(lambda: function(odd, model, IMAGES, LABELS, Linf(0.1)), text)


@pytest.mark.parametrize("name", ["fgsm", "robust_accuracy", "pgd_train_step"])
def test_a_number_is_no_threat_model(name, state):
    function = (BY_VALUE | STEPS)[name]
    text = r"threat must be a threat model such as Linf\(0.1\), but is a float: wrap"
    refused(lambda: function(state, never_run, IMAGES, LABELS, 0.1), text)


@pytest.mark.parametrize(
    "name",
    [
        *("pgd", "noise", "apgd", "apgd_targeted", "square"),
        *("robust_accuracy", "evaluate_robustness"),
    ],
)
@pytest.mark.parametrize(
    ("key", "text"),
    [
        (0, r"key must be a JAX random key, but is 0: make one with jax.random.key\(0\)"),
        (jax.random.split(KEY, 5), r"key must be one key.*, but has the shape \(5,\): "),
    ],
)
def test_wrong_keys(name, key, text):
    calls = {
        "robust_accuracy": lambda: robustlib.robust_accuracy(
            never_run, split(IMAGES, LABELS), Linf(0.1), key
        ),
        "evaluate_robustness": lambda: robustlib.evaluate_robustness(
            never_run, split(IMAGES, LABELS), Linf(0.1), key
        ),
    }

    def attack():
        getattr(robustlib, name)(never_run, IMAGES, LABELS, Linf(0.1), key)

    refused(calls.get(name, attack), text)


@pytest.mark.parametrize("evaluator", [robustlib.robust_accuracy, robustlib.evaluate_robustness])
def test_an_evaluation_has_one_key(evaluator):
    keys = jax.random.split(KEY, len(IMAGES))
    text = r"key must be one key, but has the shape \(8,\): pass one"
    refused(lambda: evaluator(never_run, split(IMAGES, LABELS), Linf(0.1), keys), text)


def test_the_model_of_these_tests_does_fail_when_it_is_run():
    with pytest.raises(Exception, match="the model was run"):
        robustlib.accuracy(never_run, split(IMAGES, LABELS))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda s: robustlib.standard_train_step(s, IMAGES),
            "batch must be a dict .* ndarray: ",
        ),
        (lambda s: robustlib.standard_train_step(s, {"image": IMAGES}), r"but is \['image'\]"),
        (lambda s: robustlib.logits_fn(3), "needs a TrainState or a function .* int: pass"),
        (
            lambda s: robustlib.load_dataset("minst"),
            r"no data set 'minst' \(did you mean 'mnist'\?\): choose",
        ),
        (
            lambda s: robustlib.recipe("PDG"),
            r"no recipe 'PDG' for 'mnist' \(did you mean 'PGD'",
        ),
        (
            lambda s: robustlib.robust_accuracy(
                never_run, split(IMAGES, LABELS), Linf(0.1), KEY, attacks=[robustlib.fgsm]
            ),
            "attacks must be a dict from names to attacks",
        ),
        (
            lambda s: robustlib.evaluate_robustness(
                never_run, split(IMAGES, LABELS), Linf(0.1), KEY, baseline=0.3
            ),
            "baseline must be the report on an undefended model, but is 0.3: pass",
        ),
        (
            lambda s: robustlib.evaluate_robustness(
                never_run, split(IMAGES, LABELS), Linf(0.1), KEY, surrogate=never_run
            ),
            "surrogate goes with an ensemble, which compares with it: pass attacks='standard'",
        ),
        (
            lambda s: robustlib.fgsm(never_run, IMAGES[:, :1, :1], LABELS, L2(8)),
            "at most 1 for l-2, .* it is the length of the whole perturbation",
        ),
    ],
)
def test_other_arguments(call, text, state):
    with pytest.raises((TypeError, ValueError), match=text):
        call(state)


def test_under_jit_shapes_and_types_are_checked_and_values_are_not(state):
    model = robustlib.logits_fn(state)
    attack = jax.jit(lambda x, y: robustlib.fgsm(model, x, y, Linf(0.1)))
    refused(lambda: attack(IMAGES[..., 0], LABELS), r"shape \[N, H, W, C\]")
    refused(lambda: attack(IMAGES, LABELS.astype(np.float32)), "labels must be integers")
    refused(lambda: attack(IMAGES, LABELS[:3]), "same batch size")
    assert attack(IMAGES * 2, LABELS).shape == SHAPE


def test_a_train_step_never_looks_at_values(state, monkeypatch):
    monkeypatch.setattr(checks, "_check_pixels", _ran)
    for name, step in STEPS.items():
        after = step(state, None, jnp.full(SHAPE, 7.0), jnp.asarray(LABELS + 9), Linf(0.1))
        assert int(after.step) == 1, name


def test_a_train_step_never_waits_for_a_number_and_fit_does(state):
    steps, weight = jnp.int32(0), jnp.float32(7)
    data, sizes = split(IMAGES, LABELS), {"epochs": 1, "batch_size": 4}
    for objective, text in (
        (robustlib.MinMax(Linf(0.1), steps=steps), "steps must be at least 1, but is 0"),
        (robustlib.Mixed(0.1, weight=weight), r"weight must lie in \[0, 1\], but is 7"),
    ):
        check_objective(objective, SHAPE, wait=False)
        refused(lambda o=objective: robustlib.fit(state, data, o, KEY, **sizes), text)


def test_fit_checks_the_values_once(state, monkeypatch):
    looked = []
    monkeypatch.setattr(checks, "_check_pixels", lambda images: looked.append(images.shape))
    robustlib.fit(
        state,
        split(IMAGES, LABELS),
        robustlib.Standard(),
        KEY,
        epochs=3,
        batch_size=4,
        progress=False,
    )
    assert looked == [SHAPE]


def test_example_keys_folds_one_key_and_keeps_many():
    old = jax.random.PRNGKey(4)
    many = checks.example_keys(jax.random.key(4), 3)
    assert (checks.example_keys(many, 3) == many).all()
    assert (checks.example_keys(old, 3) == many).all()
    assert many[2] == jax.random.fold_in(jax.random.key(4), 2)
