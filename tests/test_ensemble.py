"""Ensembles: what is in them, who is attacked, what counts, and what an interrupt leaves."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import robustlib
from robustlib import L1, L2, Linf, comparisons, ensemble, search
from robustlib.ensemble import ENSEMBLES, AutoPGD, Square
from tests import properties
from tests.properties import first

HOW = {"attacks": "quick", "progress": False}


def split_of(cnn, n):
    images, labels = first(cnn, n)
    return SimpleNamespace(images=images, labels=labels)


def test_the_standard_ensemble_is_what_it_says():
    ce, dlr, square = ENSEMBLES["standard"]
    assert (ce.steps, ce.targets, ce.loss) == (100, 0, robustlib.cross_entropy)
    assert (dlr.steps, dlr.targets, dlr.loss) == (100, 9, robustlib.targeted_dlr)
    assert isinstance(square, Square) and square.steps == 5000


def test_it_counts_the_worst_case(cnn):
    properties.the_ensemble_counts_the_worst_case(robustlib, cnn)


def test_it_counts_what_it_has_checked(cnn):
    properties.an_ensemble_counts_what_it_has_checked(robustlib, cnn)


@pytest.mark.parametrize(
    "member",
    [
        AutoPGD("CE", steps=12),
        AutoPGD("T", steps=7, targets=3, loss=robustlib.targeted_dlr),
        Square("S", steps=150),
    ],
    ids=lambda member: member.name,
)
@pytest.mark.parametrize("threat", [Linf(0.06), L2(0.9)], ids=["l-inf", "l-2"])
def test_the_verdicts_do_not_depend_on_the_batch_size(cnn, member, threat, monkeypatch):
    """Places are filled again as examples finish: each gets its own start, runs and steps."""
    split, f = split_of(cnn, 1000), robustlib.logits_fn(cnn.state)
    logits = np.asarray(f(split.images))
    problem = ensemble.Problem(f, split.images, split.labels, threat, logits)
    standing, outcomes = logits.argmax(axis=1) == split.labels, []
    for size in (256, 16):
        monkeypatch.setattr(search, "BATCH_SIZES", (size,))
        outcome = ensemble.attack([member], problem, standing, jax.random.key(0), progress=False)
        outcomes.append(outcome.standing)
        (result,) = outcome.results
        passes = result.gradient_passes + result.queries
        assert result.tried == standing.sum() and passes <= result.tried * member.passes * 3
    assert 0.05 < (standing & ~outcomes[0]).mean() < 0.95
    large, small = outcomes
    assert (large != small).mean() <= 0.001


def test_a_place_is_free_as_soon_as_its_example_has_fallen():
    """Two runs of example 5 are under way; where one succeeds, the other ends."""
    member = AutoPGD("T", steps=50, targets=3)
    logits, images = np.zeros((8, 4)), np.zeros((8, 1, 1, 1))
    problem = ensemble.Problem(None, images, np.zeros(8, int), Linf(0.1), logits)
    work = search.Search(member, problem, np.ones(8, bool), jax.random.key(0))
    example, before = np.array([5, 5, 7, -1]), work.left
    fooled, step = np.array([True, False, False, True]), np.array([11, 11, 21, 0])
    state = SimpleNamespace(fooled=fooled, best=np.zeros((4, 1, 1, 1)), step=step)
    work._note(state, fooled, example, np.array([10, 10, 10, 0]))
    assert example.tolist() == [-1, -1, 7, -1] and list(work.found) == [5]
    assert work.passes == 30 and work.left == before - 30 - 2 * (51 - 11)


def test_the_chapter_says_what_is_in_quick():
    path = Path(robustlib.__file__).parents[1] / "notebooks/06_evaluation.ipynb"
    for name, (ce, dlr, square) in ENSEMBLES.items():
        row = f"| `{name}` | {ce.steps} steps | {dlr.steps} steps, {dlr.targets} targets | "
        assert f"{row}{square.steps:,} queries |" in path.read_text(encoding="utf-8")


def test_three_classes_are_too_few_for_targets(uncompared):
    images = np.random.default_rng(0).random((6, 4, 4, 1), np.float32)
    split = SimpleNamespace(images=images, labels=np.zeros(6, np.int32))
    f, key = robustlib.logits_fn(_three), jax.random.key(0)
    report = robustlib.evaluate_robustness(f, split, Linf(0.1), key, **HOW)
    assert [attack.name for attack in report.attacks] == ["APGD-CE", "Square"]
    assert any("DLR needs more than the 3 classes" in flag for flag in report.flags)


def _three(images):
    mean = images.mean(axis=(1, 2, 3))
    return jnp.stack([1 - mean, mean, mean / 2], axis=1)


def test_it_says_what_it_left_out(uncompared):
    rng = np.random.default_rng(0)
    split = SimpleNamespace(
        images=np.float32(rng.random((20, 4, 4, 1))), labels=np.zeros(20, np.int32)
    )
    f = robustlib.logits_fn(_bright)
    report = robustlib.evaluate_robustness(f, split, Linf(0.1), jax.random.key(0), **HOW)
    assert [attack.name for attack in report.attacks] == ["APGD-CE", "Square"]
    assert any("DLR needs more than the 2 classes" in flag for flag in report.flags)
    mean = split.images.mean(axis=(1, 2, 3))
    assert report.clean_correct == (mean < 0.5).sum()
    worst = np.clip(split.images + 0.1, 0, 1).mean(axis=(1, 2, 3))
    assert report.robust_correct == (worst < 0.5).sum() < report.clean_correct


def _bright(images):
    lead = 20 * (images.mean(axis=(1, 2, 3)) - 0.5)
    return jnp.stack([jnp.zeros_like(lead), lead], axis=1)


def test_an_interrupt_keeps_what_was_found(cnn, monkeypatch, capsys):
    split, f, calls = split_of(cnn, 300), robustlib.logits_fn(cnn.state), []

    def interrupted(self, *arguments):
        calls.append(0)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return advance(self, *arguments)

    advance = AutoPGD.advance
    monkeypatch.setattr(AutoPGD, "advance", interrupted)
    report = robustlib.evaluate_robustness(f, split, Linf(0.1), jax.random.key(0), **HOW)
    assert report.partial and len(report.attacks) == 1
    assert report.robust_correct == report.attacks[0].correct < report.clean_correct
    assert str(report).startswith("PARTIAL, quick ensemble") and "interrupted" in str(report)
    assert "Stopped during APGD-CE" in capsys.readouterr().out


def test_an_interrupt_before_an_attack_begins_keeps_those_before_it(cnn, monkeypatch):
    aims = AutoPGD.aims

    def interrupted(self, logits, labels):
        if self.targets:
            raise KeyboardInterrupt
        return aims(self, logits, labels)

    monkeypatch.setattr(AutoPGD, "aims", interrupted)
    split, f = split_of(cnn, 100), robustlib.logits_fn(cnn.state)
    report = robustlib.evaluate_robustness(f, split, Linf(0.05), jax.random.key(0), **HOW)
    first, second = report.attacks
    assert report.partial and first.correct == second.correct < report.clean_correct


@pytest.mark.parametrize("interrupts", [1, 2])
def test_an_interrupt_of_the_second_look_keeps_what_was_counted(
    cnn, monkeypatch, capsys, interrupts
):
    """Once: the second look is taken again. Twice: what it would have counted is not counted."""
    monkeypatch.setitem(ENSEMBLES, "quick", (AutoPGD("A", steps=3), AutoPGD("B", steps=9)))
    judge, calls = search.judge, []

    def interrupted(*where):
        calls.append(0)
        if 2 <= len(calls) < 2 + interrupts:
            raise KeyboardInterrupt
        return judge(*where)

    monkeypatch.setattr(search, "judge", interrupted)
    split, f = split_of(cnn, 300), robustlib.logits_fn(cnn.state)
    report = robustlib.evaluate_robustness(f, split, Linf(0.08), jax.random.key(0), **HOW)
    a, b = report.attacks
    assert report.partial and a.correct < report.clean_correct
    assert (b.correct == a.correct) == (interrupts == 2) and report.robust_correct == b.correct
    said = {1: "what was found so far is kept", 2: "none of that is counted"}[interrupts]
    assert said in capsys.readouterr().out


def test_an_interrupt_of_the_search_for_flags_keeps_the_counts(cnn, monkeypatch):
    def interrupted(*where, **how):
        yield "A first comparison. See 06_evaluation."
        raise KeyboardInterrupt

    monkeypatch.setitem(ENSEMBLES, "quick", (AutoPGD("CE", steps=3),))
    monkeypatch.setattr(comparisons, "flags", interrupted)
    split, f = split_of(cnn, 50), robustlib.logits_fn(cnn.state)
    report = robustlib.evaluate_robustness(f, split, Linf(0.1), jax.random.key(0), **HOW)
    assert not report.partial and report.robust_correct == report.attacks[0].correct
    first, interrupt, _ = report.flags
    assert first.startswith("A first") and interrupt.startswith("The search for flags was inter")


def test_it_shows_who_stands_and_the_time_left(cnn, monkeypatch, capsys):
    every_step = partial(ensemble.tqdm, mininterval=0, miniters=0)  # drawn, however quick it is
    monkeypatch.setattr(ensemble, "tqdm", every_step)
    monkeypatch.setitem(ENSEMBLES, "quick", (AutoPGD("CE", steps=30),))
    split, f = split_of(cnn, 50), robustlib.logits_fn(cnn.state)
    for progress in (False, True):
        how = {"attacks": "quick", "progress": progress}
        robustlib.evaluate_robustness(f, split, Linf(0.02), jax.random.key(0), **how)
        shown = capsys.readouterr().err
        assert bool(shown) == progress
    assert "CE: 4" in shown and "standing" in shown and " left" in shown
    assert "comparing attacks" in shown


def test_l1_is_refused_but_by_the_plain_attacks(cnn):
    """Neither step nor starts of Auto-PGD and Square are made for it."""
    split, f, key = split_of(cnn, 20), robustlib.logits_fn(cnn.state), jax.random.key(0)
    threat, where = L1(10.0), (split.images, split.labels, L1(10.0), key)
    for attack in (robustlib.apgd, robustlib.apgd_targeted, robustlib.square):
        with pytest.raises(TypeError, match=r"serve l-inf and l-2: use pgd"):
            attack(f, *where)
    with pytest.raises(TypeError, match="serve l-inf and l-2"):
        robustlib.evaluate_robustness(f, split, threat, key, **HOW)
    report = robustlib.evaluate_robustness(
        f, split, threat, key, attacks={"PGD": partial(robustlib.pgd, steps=10)}
    )
    assert report.threat == "l-1, epsilon 10" and report.robust_correct < report.clean_correct


def test_the_report_names_its_ensemble(cnn, brief):
    split, f = split_of(cnn, 40), robustlib.logits_fn(cnn.state)
    report = robustlib.evaluate_robustness(f, split, Linf(0.1), jax.random.key(0), **HOW)
    title, header, *_ = str(report).splitlines()
    assert title == "quick ensemble, l-inf, epsilon 0.1, 40 images, seed 0:0"
    assert header.split()[:2] == ["attack", "images"] and header.endswith("queries")
    assert "not the official AutoAttack" in str(report) and not report.partial


def test_an_unknown_ensemble_is_refused(cnn):
    split, f = split_of(cnn, 2), robustlib.logits_fn(cnn.state)
    with pytest.raises(ValueError, match=r"no ensemble 'standart' \(did you mean 'standard'\?\)"):
        robustlib.evaluate_robustness(f, split, Linf(0.1), jax.random.key(0), attacks="standart")


def test_one_example_is_enough(cnn):
    split, f = split_of(cnn, 1), robustlib.logits_fn(cnn.state)
    report = robustlib.evaluate_robustness(f, split, Linf(0.3), jax.random.key(0), **HOW)
    assert (report.examples, report.robust_correct) == (1, 0)


def test_an_ensemble_runs_the_programs_that_its_attacks_are_compiled_to(
    cnn, uncompared, compilations
):
    split, f, key = split_of(cnn, 64), robustlib.logits_fn(cnn.state), jax.random.key(0)
    threat = Linf(0.02)  # most images stand, so the size of the batch stays what it is
    robustlib.evaluate_robustness(f, split, threat, key, attacks="quick", progress=False)
    before = compilations()
    where = (f, split.images, split.labels, threat, key)
    robustlib.apgd(*where, steps=30)
    robustlib.square(*where, queries=10)
    assert compilations() - before <= 1  # keys: one run for all, where an ensemble has one for each
