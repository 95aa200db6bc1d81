"""The report: its interval, its words, and both of its forms."""

import dataclasses
import math
import re

import pytest

from robustlib import RobustnessReport, wilson_interval
from robustlib.report import AttackResult

REPORT = RobustnessReport(
    threat="l-inf, epsilon 0.3",
    seed="0:7",
    examples=1000,
    clean_correct=980,
    robust_correct=872,
    attacks=(
        AttackResult("FGSM", 1, 1, 930, 0.5, 1000),
        AttackResult("PGD-40 <b>", 40, 10, 875, 12.25, 400_000),
    ),
    seconds=13.0,
)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe (1998), Statistics in Medicine 17, table I, method 3: 95 % score intervals.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0000),
    ],
)
def test_the_interval_is_wilsons(successes, n, low, high):
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("successes", [0, 1, 500, 999, 1000])
def test_the_ends_of_the_interval_solve_its_equation(successes):
    """`|share - p| = 1.96 sqrt(p (1 - p) / n)`, and the ends turn over with the outcome."""
    low, high = wilson_interval(successes, 1000)
    for p in (low, high):
        if 1e-9 < p < 1 - 1e-9:
            error = abs(successes / 1000 - p)
            assert error == pytest.approx(1.9599640 * math.sqrt(p * (1 - p) / 1000), rel=1e-6)
    assert 0 <= low <= successes / 1000 <= high <= 1
    turned = wilson_interval(1000 - successes, 1000)
    assert turned == pytest.approx((1 - high, 1 - low), abs=1e-12)


@pytest.mark.parametrize(("successes", "n"), [(-1, 10), (11, 10), (0, 0)])
def test_the_interval_refuses_what_is_no_count(successes, n):
    with pytest.raises(ValueError, match=r"successes must lie in \[0, n\].*: pass counts"):
        wilson_interval(successes, n)


def test_its_shares():
    assert (REPORT.clean_accuracy, REPORT.robust_accuracy) == (0.98, 0.872)
    assert REPORT.gradient_passes == 401_000


def test_what_an_attack_does_not_tell_is_unknown():
    silent = AttackResult("mine", None, None, 900, 1.0, None)
    report = dataclasses.replace(REPORT, attacks=(*REPORT.attacks, silent))
    assert report.gradient_passes is None
    mine, total = str(report).splitlines()[5:7]
    assert mine.split()[-4:] == ["unknown", "unknown", "1.0", "unknown"]
    assert total.split()[-2:] == ["13.0", "unknown"]


def test_a_terminal_shows_the_text():
    assert repr(REPORT) == str(REPORT)


def test_the_text_says_everything():
    text = str(REPORT)
    title, header, clean, fgsm, pgd, robust, *notes = text.splitlines()
    assert title == "l-inf, epsilon 0.3, 1,000 images, seed 0:7"
    assert re.split(r"  +", header) == [
        "attack",
        "accuracy",
        "95 % interval (Wilson)",
        "steps",
        "restarts",
        "seconds",
        "gradient passes, at most",
    ]
    assert re.split(r"  +", clean) == ["clean", "98.0%", "96.9% to 98.7%"]
    assert re.split(r"  +", fgsm)[:2] == ["FGSM", "93.0%"]
    assert re.split(r"  +", fgsm)[3:] == ["1", "1", "0.5", "1,000"]
    assert re.split(r"  +", pgd)[3:] == ["40", "10", "12.2", "400,000"]
    assert re.split(r"  +", robust)[:3] == ["robust (all attacks)", "87.2%", "85.0% to 89.1%"]
    assert re.split(r"  +", robust)[3:] == ["13.0", "401,000"]
    assert "Robust accuracy is an upper bound: a stronger attack can only lower it." in notes[0]
    assert "neither a weak attack nor the training seed" in notes[0]
    assert notes[1] == "No sanity flag is raised."


def test_its_columns_are_in_line():
    table = str(REPORT).splitlines()[1:6]
    ends = {line.index("%") for line in table[1:]}
    assert len(ends) == 1 and all(line == line.rstrip() for line in table)


def test_flags_and_baseline_are_said():
    flagged = dataclasses.replace(REPORT, flags=("It is odd.", "It is odder."), baseline=0.25)
    for shown in (str(flagged), flagged._repr_html_()):
        assert "Flag: It is odd." in shown and "Flag: It is odder." in shown
        assert "No sanity flag" not in shown
        assert "An undefended model under the same attacks: 25.0%." in shown


def test_a_flag_links_to_its_chapter():
    flagged = dataclasses.replace(REPORT, flags=("It is odd. See 07_gradient_masking.",))
    assert "It is odd. See 07_gradient_masking." in str(flagged)
    link = '<a href="07_gradient_masking.ipynb">07_gradient_masking</a>'
    assert f"It is odd. See {link}." in flagged._repr_html_()


def test_the_notebook_shows_the_same_escaped():
    page = REPORT._repr_html_()
    assert page.startswith("<table><caption>l-inf, epsilon 0.3, 1,000 images, seed 0:7</caption>")
    assert "PGD-40 &lt;b&gt;" in page and "<b>" not in page
    assert page.count("<tr>") == page.count("</tr>") == 5 and page.count("<th>") == 7
    cells = re.findall(r"<td>(.*?)</td>", page)
    assert cells[:3] == ["clean", "98.0%", "96.9% to 98.7%"]
    text = str(REPORT)
    assert all(cell.replace("&lt;", "<").replace("&gt;", ">") in text for cell in cells)
    assert "upper bound" in page and "No sanity flag is raised." in page
