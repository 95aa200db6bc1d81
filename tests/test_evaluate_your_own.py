"""The page on one's own model: every cell of it runs, and the reports say what the page says."""

import ast
import re
import warnings
from pathlib import Path

import jax

PAGE = Path(__file__).parents[1] / "book" / "evaluate_your_own.md"
CELL = re.compile(r"^```\{code-cell\} ipython3\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_the_page_runs_and_its_reports_say_what_it_says():
    """A reader's Python does not turn warnings into errors."""
    shown, namespace = [], {}
    with warnings.catch_warnings(), jax.numpy_rank_promotion("allow"):
        warnings.simplefilter("ignore")
        for cell in CELL.findall(PAGE.read_text(encoding="utf-8")):
            *body, last = ast.parse(cell).body
            if isinstance(last, ast.Expr):
                exec(compile(ast.Module(body, []), "cell", "exec"), namespace)
                shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), namespace))
            else:
                exec(cell, namespace)
    first, forgotten, in_nnx, normalised, two_classes, sentence = shown
    assert first.clean_accuracy > 0.85 and first.ensemble == "quick"
    (flag,) = first.flags
    assert "No undefended model" in flag
    assert any("depend on the batch" in flag for flag in forgotten.flags)
    assert len(in_nnx.flags) == len(normalised.flags) == 1
    assert normalised.clean_correct != in_nnx.clean_correct  # it sees other numbers
    assert [attack.name for attack in two_classes.attacks] == ["APGD-CE", "Square"]
    assert any("needs more than the 2 classes" in flag for flag in two_classes.flags)
    assert "withstand the `quick` ensemble" in sentence.data and "upper bound" in sentence.data
