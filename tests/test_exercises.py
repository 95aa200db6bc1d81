"""The exercises of every chapter: stubs, solutions, and plausible wrong answers told apart."""

import importlib
import json
import re
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import robustlib
from robustlib import exercises

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
STUB = re.compile(r"^exercises\.(check_\w+)\((\w+)\)", re.MULTILINE)
SOLUTION = re.compile(r"<summary>Solution</summary>(.*?)</details>", re.DOTALL)
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)


# How often a solution is checked, where once takes long.
SLOW = {
    "check_mixed_gradients": 5,
    "check_mixed_training": 1,
    "check_robust_gradient": 10,
    "check_smallest_epsilon": 5,
    "check_temperature": 3,
}


def found(path):
    """Return a chapter's exercises in order: (checker, function, stub's cell, solution)."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    texts = [(c["cell_type"], "".join(c["source"])) for c in cells]
    stubs = [
        (text, *m.groups()) for kind, text in texts if kind == "code" and (m := STUB.search(text))
    ]
    solutions = [
        BLOCK.findall(solution)[-1]
        for kind, text in texts
        if kind == "markdown"
        for solution in SOLUTION.findall(text)
    ]
    return [
        (checker, function, stub, solution)
        for (stub, checker, function), solution in zip(stubs, solutions, strict=True)
    ]


ALL = [(path, *exercise) for path in NOTEBOOKS for exercise in found(path)]
EACH = pytest.mark.parametrize(
    ("path", "checker", "function", "stub", "solution"),
    ALL,
    ids=lambda x: x if str(x).startswith("check_") else "",
)


def wrong_answers(path):
    return importlib.import_module(f"tests.exercise_cases.chapter_{path.stem[:2]}").WRONG


def verdict_of(checker, answer):
    """Ask a checker as a notebook does, where a warning is no error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(exercises, checker)(answer)


def defined(path, source, function):
    """Return what the source defines, run after the chapter's imports as a reader runs it."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    (imports,) = ("".join(c["source"]) for c in cells if c["id"] == "imports")
    namespace = {}
    exec(imports, namespace)
    exec(source, namespace)
    return namespace[function]


def kept_in_place(points, right):
    best = points[0]
    for new, reads in zip(points, right, strict=True):
        best[reads == 0] = new[reads == 0]
    return best


def stepped_in_place(prepared, g, epsilon, mean, std):
    prepared += epsilon / std * np.sign(g)
    return np.clip(prepared, -mean / std, (1 - mean) / std, out=prepared)


def climbed_in_a_compiled_loop(gradient, images, start, epsilon, step_size, steps):
    def length(a):
        return jnp.maximum(jnp.sqrt((a**2).sum(axis=(1, 2, 3), keepdims=True)), 1e-12)

    def step(_, points):
        g = gradient(points)
        delta = points + step_size * g / length(g) - images
        return jnp.clip(images + delta * jnp.minimum(1, epsilon / length(delta)), 0, 1)

    return jax.lax.fori_loop(0, steps, step, jnp.asarray(start))


def image_by_image(state, batch, epsilon, weight):
    def loss(params, image, label):
        logits = state.apply_fn({"params": params}, image[None])
        return robustlib.cross_entropy(logits, label[None])[0]

    def of_one(image, label):
        clean, slope = jax.grad(loss, (0, 1))(state.params, image, label)
        attacked = jnp.clip(image + epsilon * jnp.sign(slope), 0, 1)
        adversarial = jax.grad(loss)(state.params, attacked, label)
        return jax.tree.map(lambda c, a: (1 - weight) * c + weight * a, clean, adversarial)

    each = jax.vmap(of_one)(batch["image"], batch["label"])
    return jax.tree.map(lambda gradients: gradients.mean(axis=0), each)


def step_by_step(split, epsilon):
    """As chapters 1 and 4 do it."""
    state = robustlib.create_state(robustlib.SmallCNN(), jax.random.key(0), split.images)
    for epoch in range(3):
        for batch in split.batches(128, jax.random.key(epoch)):
            state = robustlib.adversarial_train_step(state, batch, epsilon)
    return state


def zeros_put_right(weights):
    unit = np.abs(weights).max() / 127
    return np.where(unit > 0, np.round(weights / unit), 0).astype(np.int8)


@pytest.mark.parametrize(
    ("checker", "answer"),
    [
        ("check_kept_attempt", kept_in_place),
        ("check_step_in_pixels", stepped_in_place),
        ("check_pgd_l2", climbed_in_a_compiled_loop),
        ("check_mixed_gradients", image_by_image),
        ("check_mixed_training", step_by_step),
        ("check_in_bytes", zeros_put_right),
    ],
)
def test_an_answer_may_be_right_in_its_own_way(checker, answer):
    verdict = verdict_of(checker, answer)
    assert verdict.status == "right", verdict


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_chapter_has_two_exercises_with_wrong_answers_to_each(path):
    checkers = {checker for checker, *_ in found(path)}
    assert len(checkers) >= 2 and set(wrong_answers(path)) == checkers
    assert all(len(answers) >= 2 for answers in wrong_answers(path).values())


def test_no_checker_is_left_without_a_chapter():
    names = {name for name in vars(exercises) if name.startswith("check_")}
    assert names == {checker for _, checker, *_ in ALL}


@EACH
def test_the_stub_is_not_yet_an_answer(path, checker, function, stub, solution):
    assert verdict_of(checker, defined(path, stub, function)).status == "not yet"


@EACH
def test_the_solution_is_right(path, checker, function, stub, solution):
    answer = defined(path, solution, function)
    for _ in range(SLOW.get(checker, 25)):
        assert verdict_of(checker, answer).status == "right", verdict_of(checker, answer)


def first_call(checker, answer):
    """Return what a checker gives an answer, and what the answer returns."""
    calls = []

    def recording(*arguments):
        calls.append((arguments, answer(*arguments)))
        return calls[-1][1]

    verdict_of(checker, recording)
    return calls[0]


def refusal(checker, answer):
    """Return the message, its numbers left out, of a checker that must refuse an answer."""
    verdict = verdict_of(checker, answer)
    assert verdict.status == "wrong" and verdict.message, verdict
    return re.sub(r"[-+]?\d[\d,.]*(e[-+]?\d+)?|nan|inf", "#", verdict.message)


@EACH
def test_constants_copies_and_mistakes_are_told_apart(path, checker, function, stub, solution):
    arguments, output = first_call(checker, defined(path, solution, function))
    constants = [
        jax.tree.map(np.zeros_like, output),
        jax.tree.map(lambda leaf: np.full_like(leaf, np.mean(leaf)), output),
    ]
    refusal(checker, lambda *_: output)  # right once: each call draws cases of its own
    told = {refusal(checker, lambda *_, c=constant: c) for constant in constants}
    answers = dict(wrong_answers(path)[checker])
    for i, argument in enumerate(arguments):
        if isinstance(argument, np.ndarray | jax.Array) and argument.shape == np.shape(output):
            answers[f"argument {i}"] = lambda *arguments, i=i: arguments[i]
        else:
            refusal(checker, lambda *arguments, i=i: arguments[i])
    for mistake, answer in answers.items():
        message = refusal(checker, answer)
        assert message not in told, (mistake, message)
        told.add(message)


@EACH
def test_nothing_that_a_reader_writes_raises(path, checker, function, stub, solution):
    def raises(*arguments):
        raise KeyError("oh")

    for answer in (
        3,
        "text",
        [1, 2],
        raises,
        lambda: 1,
        lambda *a: "text",
        lambda *a: {},
        lambda *a: [[1.0], [1.0, 2.0]],
        object(),
    ):
        assert verdict_of(checker, answer).status == "wrong"
    for answer in (None, ..., lambda *a: None, lambda *a: ...):
        assert verdict_of(checker, answer).status == "not yet"
