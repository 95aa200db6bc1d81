"""How the results of the ensembles are shown: on the book's page of long results."""

import re
from itertools import groupby

from results.about import out_of_date
from results.ensembles import content_hash
from results.page import where_from
from robustlib.report import wilson_interval


def markdown(stored: dict) -> str:
    """Return a table for each threat model in Markdown, what was flagged, and where it is from."""
    tables = "".join(
        f"**{threat}, {n:,} test images**\n\n{_table(list(rows))}\n\n"
        for (threat, n), rows in groupby(stored["rows"], key=_attacked_on)
    )
    return (
        f"{out_of_date(stored, content_hash())}{tables}"
        "From left to right, per cent of the test images that are still classified correctly "
        "after each attack and those before it; the interval is Wilson's, 95 %, of the last one. "
        f"Each is an upper bound. {_difference(stored)} Passes and queries are millions, over all "
        f"images. {where_from(stored, 'ensembles.json')}\n\n{_flags(stored)}\n"
    )


CHAPTERS = {
    "standard": "01_standard_training",
    "FGSM-mixed 0.1": "04_adversarial_training",
    "FGSM-mixed 0.3": "04_adversarial_training",
    "PGD": "05_pgd",
    "PGD long": "07_gradient_masking",
    "PGD l-2": "08_threat_models",
}


def overview(stored: dict) -> str:
    """Return what the standard ensemble leaves of each network, a line each, in Markdown."""
    rows = {
        (row["model"], row["norm"]): row for row in stored["rows"] if row["ensemble"] == "standard"
    }
    threats = {norm: _attacked_on(row) for (_, norm), row in rows.items()}
    columns = (f"{threat}, {n:,} images" for threat, n in threats.values())
    header = ["network", "met in", "clean", *columns]
    lines = [header, ["---"] * len(header)]
    for model, chapter in CHAPTERS.items():
        left = [_share(rows.get((model, norm))) for norm in threats]
        row = next(row for (name, _), row in rows.items() if name == model)
        clean = f"{row['clean_correct'] / row['examples']:.1%}"
        link = f"[chapter {int(chapter[:2])}](../notebooks/{chapter}.ipynb)"
        lines.append([f"`{model}`", link, clean, *left])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return (
        f"{out_of_date(stored, content_hash())}{table}\n\n"
        "What is left of the test images, with Wilson's 95 % interval; a dash "
        "where the attacks were not run. Each is an upper bound: a stronger attack can only lower "
        f"it. {where_from(stored, 'ensembles.json')}\n"
    )


def _attacked_on(row):
    return row["threat"], row["examples"]


def _share(row):
    if row is None:
        return "–"
    low, high = wilson_interval(row["robust_correct"], row["examples"])
    return f"{row['robust_correct'] / row['examples']:.1%} ({low:.1%} to {high:.1%})"


def _table(rows):
    attacks = [attack["name"] for attack in rows[0]["attacks"]]
    header = ["trained by", "ensemble", "clean", *attacks, "interval", "minutes"]
    header += ["passes", "queries"]
    lines = [header, ["---"] * len(header), *(_cells(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row):
    n, attacks = row["examples"], row["attacks"]
    low, high = wilson_interval(row["robust_correct"], n)
    counts = (row["clean_correct"], *(attack["correct"] for attack in attacks))
    passes, queries = (
        sum(attack[cost] for attack in attacks) for cost in ("gradient_passes", "queries")
    )
    return (
        row["model"],
        row["ensemble"],
        *(f"{100 * count / n:.1f}" for count in counts),
        f"{100 * low:.1f} to {100 * high:.1f}",
        f"{row['seconds'] / 60:.1f}",
        f"{passes / 1e6:.2f}",
        f"{queries / 1e6:.2f}",
    )


def _difference(stored):
    """Say how far the two ensembles are apart on each network that met both."""
    share = {
        (row["model"], row["norm"], row["ensemble"]): row["robust_correct"] / row["examples"]
        for row in stored["rows"]
    }
    apart = [
        (model, shares - share[model, norm, "standard"])
        for (model, norm, ensemble), shares in share.items()
        if ensemble == "quick" and (model, norm, "standard") in share
    ]
    return " ".join(
        f"Of the network `{model}`, `quick` leaves {100 * points:.2f} points more than `standard`."
        for model, points in apart
    )


def _flags(stored):
    lines = [
        f"- {row['model']}, {row['threat']}, {row['ensemble']}: {flag}"
        for row in stored["rows"]
        for flag in row["flags"]
    ]
    linked = re.sub(r"See (\d\d_\w+)", r"See [\1](../notebooks/\1.ipynb)", "\n".join(lines))
    return f"Flags that were raised:\n\n{linked}" if lines else "No flag was raised."
