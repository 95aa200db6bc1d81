"""Draw the card that a link to the book shows elsewhere: a step, and a changed answer.

    .venv/bin/python tools/social_card.py

writes book/_static/social-card.png, 1200 by 630 pixels.
"""

from pathlib import Path

import jax
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import robustlib
from robustlib import Linf

TO = Path(__file__).parents[1] / "book/_static/social-card.png"


def reading(answer) -> str:
    """Say what a network reads, and how sure it is."""
    most = float(answer.max())
    how_sure = "over 99.9 %" if most > 0.999 else f"{100 * most:.1f} %"
    return f"read as {int(answer.argmax())},\n{how_sure} sure"


def main() -> None:
    """Draw it."""
    data = robustlib.load_dataset("mnist_small")
    state = robustlib.fit_or_load(robustlib.recipe("standard", data.name)).state
    model, few = robustlib.logits_fn(state), data.test.spread(200)
    points = robustlib.fgsm(model, few.images, few.labels, Linf(0.15))
    before, after = (jax.nn.softmax(model(x)) for x in (few.images, points))
    # The image whose answer changes most surely.
    sure = np.where(before.argmax(1) == few.labels, before.max(1), 0)
    chosen = int((sure * np.where(after.argmax(1) != few.labels, after.max(1), 0)).argmax())
    pictures = few.images[chosen], points[chosen] - few.images[chosen], points[chosen]
    figure = plt.figure(figsize=(12, 6.3), dpi=100, facecolor="white")
    figure.text(0.05, 0.86, "Adversarial training in JAX", fontsize=40, weight="bold")
    figure.text(
        0.05, 0.77, "Attack a network, train one that holds, and measure it honestly.", fontsize=21
    )
    for column, (picture, sign) in enumerate(zip(pictures, ("+", "=", ""), strict=True)):
        ax = figure.add_axes((0.05 + 0.32 * column, 0.2, 0.26, 0.5))
        limits = (-0.3, 0.3, "RdBu_r") if column == 1 else (0, 1, "gray")
        ax.imshow(picture[..., 0], vmin=limits[0], vmax=limits[1], cmap=limits[2])
        ax.axis("off")
        figure.text(0.34 + 0.32 * column, 0.42, sign, fontsize=40, ha="center")
    words = reading(before[chosen]), "a step\nalong the gradient", reading(after[chosen])
    for column, text in enumerate(words):
        figure.text(0.18 + 0.32 * column, 0.04, text, fontsize=21, ha="center")
    figure.savefig(TO)
    print(f"{TO}: {TO.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
