"""How the headline is shown: on the book's first page and in the README."""

import re

from results.about import ROOT, out_of_date, read, write
from results.headline import content_hash
from robustlib.report import wilson_interval

RESULTS = ROOT / "results"
README = ROOT / "README.md"
BEFORE, AFTER = (
    ("trained on", "training time", "seed", "attacked", "clean"),
    ("robust", "95 % interval"),
)


def load(name: str = "headline") -> dict:
    """Return what a file of results holds: command, commit, versions, hash and `rows`.

    Raises:
        FileNotFoundError: it has not been computed yet.
        ValueError: it was changed since.
    """
    path = RESULTS / f"{name}.json"
    if not path.exists():
        raise FileNotFoundError(f"{path.name} has not been computed yet: run `make results`.")
    return read(path)


def keep(stored: dict, name: str = "headline") -> None:
    """Write a file of results; the headline's table goes into the README too."""
    write(RESULTS / f"{name}.json", stored)
    if name == "headline":
        text = in_readme(README.read_text(encoding="utf-8"), stored)
        README.write_text(text, encoding="utf-8", newline="\n")


def is_current(stored: dict) -> bool:
    """Return whether the headline was made by the recipes and the code as they are now."""
    return stored["hash"] == content_hash()


def where_from(stored: dict, file: str) -> str:
    """Return the sentence on how, where and when results were computed."""
    versions = ", ".join(f"{name} {number}" for name, number in stored["versions"].items())
    return (
        f"Computed by `{stored['command']}` on {stored['machine']}, {stored['date']}, commit "
        f"{stored['commit']}, with {versions}; kept in `results/{file}`."
    )


def in_readme(text: str, stored: dict) -> str:
    """Return the README's text with the headline between its two marks."""
    marked = f"<!-- headline -->\n\n{markdown(stored)}<!-- /headline -->"
    return re.sub("<!-- headline -->.*<!-- /headline -->", lambda _: marked, text, flags=re.S)


def markdown(stored: dict) -> str:
    """Return the table in Markdown, where it comes from, and whether it is out of date."""
    header = [*BEFORE, *stored["attacks"], *AFTER]
    lines = [header, ["---"] * len(header), *(_cells(row) for row in stored["rows"])]
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return (
        f"{out_of_date(stored, content_hash())}{rows}\n\n"
        f"{_means(stored)} Each attack has 10 restarts, {stored['threat']}. The column *robust* "
        "counts the images that withstand all attacks; the interval is Wilson's. That is an upper "
        f"bound: a stronger attack can only lower it. {where_from(stored, 'headline.json')}\n"
    )


def means(stored: dict) -> dict:
    """Return, for each data set trained on, the mean shares of its seeds on all of MNIST's test.

    Returns:
        data set -> one share for each attack, then that of the images that withstand all.
    """
    found = {}
    for row in stored["rows"]:
        if row["tested_on"] == "mnist":
            counts = (*row["attacked_correct"], row["robust_correct"])
            found.setdefault(row["trained_on"], []).append([n / row["images"] for n in counts])
    return {
        name: [sum(s) / len(s) for s in zip(*rows, strict=True)] for name, rows in found.items()
    }


def in_words(stored: dict) -> str:
    """Return the means of the headline in sentences, in Markdown."""
    return (
        f"{out_of_date(stored, content_hash())}{_means(stored)} Each attack has 10 restarts, "
        f"{stored['threat']}. {where_from(stored, 'headline.json')}\n"
    )


def _means(stored):
    sentences = []
    for name, (*attacked, robust) in means(stored).items():
        shares = zip(attacked, stored["attacks"], strict=True)
        each = ", ".join(f"{share:.2%} under {attack}" for share, attack in shares)
        sentences.append(
            f"Trained on `{name}`, the mean of the seeds on all test images is {each}, and "
            f"{robust:.2%} withstand both."
        )
    return " ".join(sentences)


def _cells(row):
    n = row["images"]
    low, high = wilson_interval(row["robust_correct"], n)
    counts = (row["clean_correct"], *row["attacked_correct"], row["robust_correct"])
    return (
        f"`{row['trained_on']}`",
        f"{row['seconds']:.0f} s",
        str(row["seed"]),
        f"all {n:,} of `{row['tested_on']}`",
        *(f"{count / n:.2%}" for count in counts),
        f"{low:.1%} to {high:.1%}",
    )
