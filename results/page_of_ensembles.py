"""How the results of the ensembles are shown: on the book's page of long results."""

import re
from itertools import groupby

from results.ensembles import content_hash
from results.page import out_of_date, where_from
from robustlib.report import wilson_interval


def markdown(stored: dict) -> str:
    """Return a table for each threat model in Markdown, what was flagged, and where it is from."""
    tables = "".join(
        f"**{threat}**\n\n{_table(list(rows))}\n\n"
        for threat, rows in groupby(stored["rows"], key=lambda row: row["threat"])
    )
    n = stored["rows"][0]["examples"]
    return (
        f"{out_of_date(stored, content_hash())}{tables}"
        f"From left to right, per cent of {n:,} test images that are still classified correctly "
        "after each attack and those before it; the interval is Wilson's, 95 %, of the last one. "
        f"Each is an upper bound. {_difference(stored)} Passes and queries are millions, over all "
        f"images. {where_from(stored, 'ensembles.json')}\n\n{_flags(stored)}\n"
    )


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
    """Say how far the two ensembles are apart on the model that met both."""
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
        f"On {model!r} `quick` leaves {100 * points:.2f} points more than `standard`."
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
