"""The tables, and their place in the README."""

import hashlib
import re
import textwrap

import numpy as np

from results.about import ROOT, out_of_date, read, write
from robustlib.recipes import code_hash

RESULTS = ROOT / "benchmarks" / "results.json"
README = ROOT / "README.md"
INSTALLED, TUNED = "PyTorch", "PyTorch, malloc tuned"
KINDS = ("standard", "fused", "textbook")
TIMED = {
    "PGD": ("by hand", "torchattacks", "Foolbox", "ART"),
    "Auto-PGD": ("torchattacks", "ART"),
}
STEPS = {"PGD": 40, "Auto-PGD": 100}
COUNTED = {
    "FGSM": ("torchattacks", "Foolbox"),
    **TIMED,
    "targeted Auto-PGD": ("torchattacks",),
    "Square": ("torchattacks",),
}
MEASURED = ("auto_pgd", "square_attack", "search", "ensemble", "batches")
# What the standard ensemble consists of, and who else has all of it.
ENSEMBLE, ENSEMBLE_LIBRARY = ("Auto-PGD", "targeted Auto-PGD", "Square"), "torchattacks"


def keep(results: dict) -> None:
    """Keep the results of this kind of device, and put those of all kinds into the README."""
    every = read(RESULTS) if RESULTS.exists() else {}
    every[results["platform"]] = results
    write(RESULTS, every)
    text = in_readme(README.read_text(encoding="utf-8"), every)
    README.write_text(text, encoding="utf-8", newline="\n")


def content_hash() -> str:
    """Return a hash of the code that the benchmarks measure, and measure by."""
    digest = hashlib.sha256(f"{STEPS} {COUNTED} {code_hash()}".encode())
    measured = (f"robustlib/{name}.py" for name in MEASURED)
    by = (f"benchmarks/{name}.py" for name in ("__main__", "jax_side", "timing", "torch_side"))
    for path in (*measured, *by):
        digest.update((ROOT / path).read_bytes())
    return digest.hexdigest()


def in_readme(text: str, every: dict) -> str:
    """Return the README's text with the tables of all devices between the two marks."""
    inside = "\n".join(tables(results) for results in every.values())
    marked = f"<!-- benchmarks -->\n{inside}<!-- /benchmarks -->"
    return re.sub("<!-- benchmarks -->.*<!-- /benchmarks -->", lambda _: marked, text, flags=re.S)


def tables(results: dict) -> str:
    """Return the results of one device in Markdown."""
    versions = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    training = ", ".join(f"{s:.0f} s on `{name}`" for name, s in results["training"].items())
    protocol = textwrap.fill(
        f"Measured by `{results['command']}` on {results['machine']}, {results['date']}, commit "
        f"{results['commit']}, with {versions}. Every side is warmed up; then all take turns, once "
        f"a round. The tables show medians over {results['rounds']} rounds, and each side's clock "
        "stops when its result is there. PyTorch runs in processes of its own, as installed and "
        "with malloc tuned (`MALLOC_MMAP_THRESHOLD_` and `MALLOC_TRIM_THRESHOLD_` raised); the "
        "attacks meet the same weights and images on every side.",
        width=100,
        break_on_hyphens=False,
    )
    return f"""
{out_of_date(results, content_hash())}{protocol}

{_markdown(("", "goal", "measured"), goals(results))}
Milliseconds a training step (Adam, epsilon 0.3), and in brackets the ratio to the standard step of
the same row. The textbook's mixed step takes three passes, the fused one two.

{_steps(results["steps"])}
Image-gradients a second of PGD with 40 steps of 0.01 at epsilon 0.3.

{_speeds("PGD", results["PGD"])}
Image-gradients a second of Auto-PGD with 100 steps, the loss cross-entropy. Foolbox has none.

{_speeds("Auto-PGD", results["Auto-PGD"])}
Of {results["images"]:,} test images, how many the network `PGD long` reads correctly after each
attack at epsilon 0.3, from one start. Only what lies in ball and box counts as broken. robustlib's
standard ensemble gives each attack what those before it left; beside it stands what none of the
same three attacks of {ENSEMBLE_LIBRARY} broke.

{_agreement(results["standing"])}
Training the recipe "PGD long", compilation included: {training}.

Milliseconds that the small CNN takes for the gradients of a batch of 128 images, with robustlib's
convolution and with Flax's own.

{_convolution(results["convolution"])}"""


def goals(results: dict) -> list[tuple[str, str, str]]:
    """Return what was to be reached on one device: in words, the goal, and what was measured."""
    steps = results["steps"]
    rows = []
    for batch in steps:
        ratio = steps[batch]["fused, a step per call"] / steps[batch]["standard, a step per call"]
        rows.append(
            (f"fused step, in standard steps, batch {batch}", "at most 1.9", f"{ratio:.2f}")
        )
    for batch, goal in zip(steps, ("1.5", "1.2"), strict=True):
        speed = steps[batch][f"{INSTALLED}: textbook"] / steps[batch]["fused, in a scan"]
        what = f"mixed step in a scan, speed beside PyTorch's textbook step, batch {batch}"
        rows.append((what, f"at least {goal}", f"{speed:.2f}"))
    for attack in TIMED:
        for batch, rates in results[attack].items():
            for side in (INSTALLED, TUNED):
                others = [rate for name, rate in rates.items() if name.startswith(f"{side}: ")]
                if others:
                    what = f"{attack}, speed beside the fastest with {side}, batch {batch}"
                    ratio = rates["robustlib"] / max(others)
                    rows.append((what, "at least 1.5", f"{ratio:.2f}"))
    kept = results["standing"]["standard ensemble"]
    ours, theirs = (_kept(kept[who]).mean() for who in ("robustlib", ENSEMBLE_LIBRARY))
    what = f"standard ensemble, percentage points of robust accuracy above {ENSEMBLE_LIBRARY}"
    rows.append((what, "at most 0.3", f"{100 * (ours - theirs):.1f}"))
    return rows


def _steps(steps):
    rows = []
    for batch, times in steps.items():
        sides = {
            "robustlib, a step per call": "{}, a step per call",
            "robustlib, in a scan": "{}, in a scan",
            INSTALLED: INSTALLED + ": {}",
            TUNED: TUNED + ": {}",
        }
        for side, name in sides.items():
            if name.format("standard") in times:
                own = [times[name.format(kind)] for kind in KINDS]
                cells = [f"{1000 * s:.2f} ({s / own[0]:.2f})" for s in own]
                rows.append((batch, side, *cells))
    return _markdown(("batch", "", *KINDS), rows)


def _speeds(attack, speeds):
    names = ["robustlib"]
    for side in (INSTALLED, TUNED):
        names += [f"{side}: {library}" for library in TIMED[attack]]
    rows = [
        (name, *(f"{rates[name]:,.0f}" for rates in speeds.values()))
        for name in names
        if all(name in rates for rates in speeds.values())
    ]
    return _markdown(("", *(f"batch {batch}" for batch in speeds)), rows)


def agreement() -> str:
    """Return in Markdown what robustlib and others leave of the same images, for the book."""
    every = read(RESULTS)
    return "\n\n".join(
        f"{out_of_date(results, content_hash())}{_agreement(results['standing'])}\n"
        f"Measured by `{results['command']}` on {results['machine']}, {results['date']}, commit "
        f"{results['commit']}; kept in `benchmarks/results.json`."
        for results in every.values()
    )


def _agreement(standing):
    rows = [
        _compared(attack, library, _kept(standing[attack]["robustlib"]), _kept(kept))
        for attack, by in standing.items()
        for library, kept in by.items()
        if library != "robustlib"
    ]
    header = ("attack", "library", "robustlib leaves", "it leaves", "only robustlib broke")
    return _markdown((*header, "only it broke"), rows)


def _compared(attack, library, ours, theirs):
    only = (~ours & theirs).sum(), (ours & ~theirs).sum()
    return (attack, library, *map(str, (ours.sum(), theirs.sum(), *only)))


def _kept(digits):
    return np.array([digit == "1" for digit in digits])


def _convolution(times):
    rows = [
        (name, *(f"{1000 * times[f'{name}, {where}']:.2f}" for where in ("no loop", "in a loop")))
        for name in ("robustlib", "nn.Conv")
    ]
    return _markdown(("", "outside a loop", "in a loop"), rows)


def _markdown(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
