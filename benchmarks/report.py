"""The tables, and their place in the README."""

import json
import re
import textwrap

from results.about import ROOT

RESULTS = ROOT / "benchmarks" / "results.json"
README = ROOT / "README.md"
INSTALLED, TUNED = "PyTorch", "PyTorch, malloc tuned"
KINDS = ("standard", "fused", "textbook")
LIBRARIES = ("by hand", "torchattacks", "Foolbox", "ART")


def keep(results: dict) -> None:
    """Keep the results of this kind of device, and put those of all kinds into the README."""
    every = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    every[results["platform"]] = results
    RESULTS.write_text(json.dumps(every, indent=1) + "\n", encoding="utf-8")
    text = in_readme(README.read_text(encoding="utf-8"), every)
    README.write_text(text, encoding="utf-8")


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
{protocol}

{_goals(results)}
Milliseconds a training step (Adam, epsilon 0.3), and in brackets the ratio to the standard step of
the same row. The textbook's mixed step takes three passes, the fused one two.

{_steps(results["steps"])}
PGD with 40 steps of 0.01 at epsilon 0.3: image-gradients a second.

{_pgd(results["pgd"], results["images"])}
Training the recipe "PGD long", compilation included: {training}.

Milliseconds an image gradient of the small CNN at batch 128, with robustlib's convolution and with
Flax's own.

{_convolution(results["convolution"])}"""


def _goals(results):
    steps, pgd = results["steps"], results["pgd"]
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
    for batch in _batches(pgd):
        for side in (INSTALLED, TUNED):
            others = [pgd[batch].get(f"{side}: {library}") for library in LIBRARIES[:3]]
            if None not in others:
                what = f"PGD-40, speed beside the fastest of three with {side}, batch {batch}"
                rows.append((what, "at least 1.5", f"{pgd[batch]['robustlib'] / max(others):.2f}"))
    return _markdown(("", "goal", "measured"), rows)


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


def _pgd(pgd, images):
    batches = _batches(pgd)

    def row(name, library):
        rates = [pgd[batch].get(name) for batch in batches]
        cells = ["" if rate is None else f"{rate:,.0f}" for rate in rates]
        counted = not name.startswith(TUNED)  # malloc changes no number
        return (name, *cells, str(pgd["still correct"][library]) if counted else "")

    sides = [side for side in (INSTALLED, TUNED) if f"{side}: by hand" in pgd[batches[0]]]
    rows = [row("robustlib", "robustlib")]
    rows += [row(f"{side}: {library}", library) for side in sides for library in LIBRARIES]
    return _markdown(
        ("", *(f"batch {batch}" for batch in batches), f"still correct, of {images:,}"), rows
    )


def _batches(pgd):
    return [key for key in pgd if key != "still correct"]


def _convolution(times):
    rows = [
        (name, *(f"{1000 * times[f'{name}, {where}']:.2f}" for where in ("no loop", "in a loop")))
        for name in ("robustlib", "nn.Conv")
    ]
    return _markdown(("", "outside a loop", "in a loop"), rows)


def _markdown(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
