"""The command line: the report as text and as JSON, exit statuses, and answers to bad input."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import robustlib
from robustlib import comparisons, ensemble
from robustlib.__main__ import main

MODEL = '''
import jax.numpy as jnp

def bright(images):
    """Four classes, by how bright an image is."""
    mean = images.mean(axis=(1, 2, 3))[:, None]
    return -20 * jnp.abs(mean - jnp.array([[0.2, 0.4, 0.6, 0.8]]))

def broken(images):
    """Always the first of four."""
    return bright(images) * 0 + jnp.array([[3.0, 2.0, 1.0, 0.0]])

def failing(images):
    return {"logits": bright(images)}["logit"]

def two(images):
    return bright(images)[:, :2]

NOT_A_FUNCTION = 1
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a model and images, as a user's."""
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 4
    noise = 0.05 * rng.uniform(-1, 1, (40, 3, 3, 1))
    images = np.float32(0.2 * (labels + 1)[:, None, None, None] + noise)
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    np.savez(tmp_path / "unnamed.npz", images, labels)
    np.savez(tmp_path / "pixels.npz", images=255 * images, labels=labels)
    (tmp_path / "text.npz").write_text("no archive", encoding="utf-8")
    content = bytearray((tmp_path / "data.npz").read_bytes())
    content[300] ^= 16
    (tmp_path / "damaged.npz").write_bytes(content)
    content = (tmp_path / "data.npz").read_bytes().replace(b"PK\x01\x02", b"PK\x01\x03", 1)
    (tmp_path / "index.npz").write_bytes(content)
    np.savez(tmp_path / "unequal.npz", images=images, labels=labels[:30])
    np.savez(tmp_path / "one_label.npz", images=images, labels=labels[0])
    (tmp_path / "unfinished.py").write_text("def bright(images:", encoding="utf-8")
    (tmp_path / "my_model.py").write_text(MODEL, encoding="utf-8")
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "my_module.py").write_text(MODEL, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in ("my_model", "my_package", "my_package.my_module"):
        sys.modules.pop(name, None)


OWN = ["evaluate", "my_model:bright", "--data", "data.npz", "--epsilon", "0.08", "--quiet"]


def test_a_model_of_ones_own_from_a_shell(folder):
    command = [sys.executable, "-m", "robustlib", *OWN, "--attacks", "quick"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.startswith("quick ensemble, l-inf, epsilon 0.08, 40 images, seed 0:0")
    assert "robust (all attacks)" in run.stdout and "not the official AutoAttack" in run.stdout


def test_the_command_of_the_page(folder, brief, capsys, monkeypatch):
    """As it stands in the book, the function's name and a shorter ensemble aside."""
    page = Path(__file__).parents[1] / "book" / "evaluate_your_own.md"
    (line,) = re.findall(r"^    python -m robustlib (.*)", page.read_text(encoding="utf-8"), re.M)
    monkeypatch.setitem(ensemble.ENSEMBLES, "standard", ensemble.ENSEMBLES["quick"])
    assert main(line.replace("my_function", "bright").split()) == 0
    assert capsys.readouterr().out.startswith("standard ensemble, l-inf, epsilon 0.03, 40 images")


def test_a_model_that_raises_is_named_and_its_traceback_shown(folder, capsys):
    assert main([*OWN[:1], "my_model:failing", *OWN[2:]]) == 1
    shown = capsys.readouterr()
    assert "the model 'my_model:failing' raised KeyError: 'logit'." in shown.err
    assert "in failing" in shown.err and not shown.out


def test_json_holds_the_report(folder, brief, capsys):
    l2 = ["--threat", "l2", "--attacks", "quick", "--examples", "20", "--seed", "3", "--json"]
    assert main([*OWN, *l2]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["threat"] == "l-2, epsilon 0.08" and report["seed"] == "0:3"
    assert report["examples"] == report["clean_correct"] == 20 and report["ensemble"] == "quick"
    assert report["attacks"][0]["name"] == "APGD-CE"
    assert report["robust_correct"] <= 20 and not report["partial"]
    share, (low, high) = report["robust_accuracy"], report["robust_accuracy_95"]
    assert share == report["robust_correct"] / 20 and low <= share <= high
    assert report["clean_accuracy"] == 1


def test_a_baseline_is_attacked_in_the_same_way(folder, brief, capsys):
    few = ["--attacks", "quick", "--examples", "20"]
    assert main([*OWN, *few, "--baseline", "my_model:broken"]) == 0
    shown = capsys.readouterr().out
    assert "An undefended model under the same attacks: 50.0%." in shown
    assert "No undefended model" not in shown


def test_a_model_of_the_book(brief, capsys):
    book = ["evaluate", "--recipe", "standard", "--dataset", "mnist_small", "--examples", "20"]
    assert main([*book, "--attacks", "quick", "--quiet"]) == 0
    assert "l-inf, epsilon 0.3, 20 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"my_model:bright": "my_model"}, "must be package.module:function"),
        (
            {"my_model:bright": "no_model:bright"},
            "cannot be imported (ModuleNotFoundError: No module",
        ),
        ({"my_model:bright": "my_model:dark"}, "has no attribute 'dark'"),
        ({"my_model:bright": "my_model:NOT_A_FUNCTION"}, "needs a TrainState or a function"),
        ({"my_model:bright": "unfinished:bright"}, "cannot be imported (SyntaxError: "),
        ({"data.npz": "damaged.npz"}, "damaged.npz is damaged (Bad CRC-32"),
        ({"data.npz": "none.npz"}, "No such file or directory: 'none.npz'"),
        ({"data.npz": "text.npz"}, "text.npz is no .npz file"),
        (
            {"data.npz": "unnamed.npz"},
            "must hold the arrays 'images' and 'labels', but holds arr_0",
        ),
        ({"data.npz": "pixels.npz"}, "images must lie in [0, 1]"),
        ({"0.08": "8"}, "epsilon"),
        ({"--quiet": "--examples=41"}, "--examples must lie in 1 ... 40, but is 41"),
        ({"--quiet": "--examples=0"}, "--examples must lie in 1 ... 40, but is 0"),
        ({"data.npz": "index.npz"}, "index.npz is damaged ("),
        ({"data.npz": "unequal.npz"}, "there are 40 images and 30 labels"),
        ({"data.npz": "one_label.npz"}, "labels must have the shape [N]"),
    ],
)
def test_what_cannot_be_used_is_named(folder, capsys, change, said):
    assert main([change.get(word, word) for word in OWN]) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith("robustlib evaluate: ") and said in shown.err
    assert shown.err.count("\n") == 1 and not shown.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "required"),
        (["evaluate"], "one of the arguments"),
        (["evaluate", "my_model:bright"], "needs --data FILE.npz and --epsilon NUMBER"),
        (["evaluate", "--recipe", "PGD", "--data", "data.npz"], "--data goes with a model of your"),
        (["evaluate", "--recipe", "PGD l-2", "--threat", "l2"], "--threat l2 needs --epsilon"),
        ([*OWN, "--threat", "l1"], "invalid choice: 'l1'"),
        ([*OWN, "--attacks", "standrad"], "invalid choice: 'standrad'"),
        ([*OWN, "--dataset", "mnist"], "--dataset goes with --recipe"),
        ([*OWN, "--seed", "-1"], "--seed must lie in 0 ... 2^32 - 1, but is -1"),
        ([*OWN, "--epsilon", "small"], "invalid float value: 'small'"),
    ],
)
def test_a_command_line_without_sense_is_refused(capsys, words, said):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2 and said in capsys.readouterr().err


def test_an_unknown_recipe_is_refused(capsys):
    assert main(["evaluate", "--recipe", "PDG", "--dataset", "mnist_small"]) == 1
    assert "did you mean 'PGD'" in capsys.readouterr().err


@pytest.mark.parametrize("status", [1, 2])
def test_a_failure_has_its_status_in_a_shell(folder, status):
    wrong = {1: {"data.npz": "none.npz"}, 2: {"--quiet": "--loud"}}[status]
    command = [sys.executable, "-m", "robustlib", *(wrong.get(word, word) for word in OWN)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == status and run.stderr and not run.stdout
    assert "Traceback" not in run.stderr


def test_all_that_can_be_wrong_is_looked_at_first(folder, capsys, monkeypatch):
    """A name, a number or a file that is wrong costs no evaluation and no training."""

    def too_late(*arguments, **how):
        raise AssertionError("the work has begun.")

    monkeypatch.setattr(robustlib, "evaluate_robustness", too_late)
    monkeypatch.setattr(robustlib, "fit_or_load", too_late)
    book = ["evaluate", "--recipe", "PGD", "--dataset", "mnist_small"]
    for words, said in (
        ([*OWN, "--baseline", "my_model:dark"], "no attribute 'dark'"),
        ([OWN[0], "my_model:dark", *OWN[2:], "--baseline", "my_model:broken"], "'dark'"),
        ([OWN[0], "my_model:two", *OWN[2:], "--baseline", OWN[1]], "my_model:two' does not suit"),
        ([*OWN, "--baseline", "my_model:failing"], "my_model:failing' raised KeyError"),
        ([*OWN, "--epsilon", "8"], "epsilon must be at most 1"),
        ([*OWN, "--data", "unequal.npz"], "40 images and 30 labels"),
        ([*book, "--epsilon", "8"], "epsilon must be at most 1"),
        ([*book, "--baseline", "standrad"], "did you mean 'standard'"),
        (["evaluate", "--recipe", "PGD", "--dataset", "fashion_minst"], "no recipe 'PGD' for"),
    ):
        assert main(words) == 1
        assert said in capsys.readouterr().err


def test_a_recipe_beside_its_baseline(uncompared, capsys, monkeypatch):
    """As the book's page has it, but for the data set; the ensemble is the standard one."""
    small = (ensemble.AutoPGD("APGD-CE", steps=3),)
    monkeypatch.setitem(ensemble.ENSEMBLES, "standard", small)
    book = ["evaluate", "--recipe", "PGD", "--baseline", "standard", "--dataset", "mnist_small"]
    assert main([*book, "--examples", "20", "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("standard ensemble, l-inf") and "An undefended model under" in shown


def test_an_interrupt_has_the_status_that_shells_expect(folder, capsys, monkeypatch):
    def interrupted(*args, **how):
        raise KeyboardInterrupt

    monkeypatch.setattr(robustlib, "evaluate_robustness", interrupted)
    assert main(OWN) == 130
    assert "interrupted before there was a result" in capsys.readouterr().err


def test_an_interrupted_evaluation_is_still_json_and_has_that_status(folder, capsys, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(ensemble.Square, "advance", interrupted)
    assert main([*OWN, "--json", "--attacks", "quick"]) == 130
    shown = capsys.readouterr()
    assert json.loads(shown.out)["partial"] and "Stopped during Square" in shown.err


@pytest.mark.parametrize("when", ["attack", "flags"])
def test_an_interrupted_baseline_ends_it(folder, capsys, monkeypatch, when):
    def interrupted(*arguments, **how):
        raise KeyboardInterrupt

    where = {"attack": (ensemble.Square, "advance"), "flags": (comparisons, "flags")}[when]
    monkeypatch.setattr(*where, interrupted)
    assert main([*OWN, "--attacks", "quick", "--baseline", "my_model:broken"]) == 130
    shown = capsys.readouterr()
    assert "interrupted before there was a result" in shown.err and not shown.out


def test_a_model_whose_training_was_interrupted_is_not_evaluated(capsys, monkeypatch):
    stopped = SimpleNamespace(state=None, interrupted=True)
    monkeypatch.setattr(robustlib, "fit_or_load", lambda *arguments, **how: stopped)
    assert main(["evaluate", "--recipe", "standard", "--dataset", "mnist_small"]) == 130
    shown = capsys.readouterr()
    assert "interrupted before there was a result" in shown.err and not shown.out
