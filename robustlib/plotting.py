"""Figures in one style: plain arrays and axes in, matplotlib's artists out.

A chapter calls `use_style()` once, in its set-up cell. After that, `strip` and `image_grid` return
a whole figure; every other function draws on axes that the chapter makes:

    figure, ax = plt.subplots()
    plotting.epsilon_curves(ax, epsilons, {"standard": accuracies})

Alternative text is metadata of the code cell that shows the figure, so that the built book carries
it in `<img alt="...">` (JupyterLab and Colab show no alternative text for figures, so the sentence
above the cell says what to see):

    "metadata": {"mystnb": {"image": {"alt": "Line chart: accuracy falls as epsilon grows."}}}

One figure a cell, since the text goes to every image of the cell. The text must be true for every
run: say what is drawn and its shape, and leave the numbers to the cells that measure them.

The panel is white in both themes of the book: the dark theme dims images and puts white ones on a
light ground. Colours keep a contrast of 3 : 1 to the panel and stay apart for colour-blind readers;
line style, marker or sign repeat what a colour says. Figures are 5 inches wide, which leaves their
text readable on a phone.
"""

import sys

import numpy as np

# colour, line style, marker
_MODELS = {
    "standard": ("#0072B2", "-", "o"),
    "FGSM-mixed 0.1": ("#C98500", "--", "s"),
    "FGSM-mixed 0.3": ("#B0330F", "-.", "^"),
    "PGD": ("#4A0D67", (0, (5, 1, 1, 1, 1, 1)), "D"),
    "noise": ("#7A7A7A", ":", "v"),
}
MODEL_COLOURS = {name: colour for name, (colour, _, _) in _MODELS.items()}
_OTHERS = [
    ("#111111", "-", "P"),
    ("#CC33DD", "--", "X"),
    ("#111111", ":", "*"),
    ("#CC33DD", "-.", "p"),
]
_RIGHT, _WRONG = "#222222", "#B0330F"
_REGIONS = ("#D6E6F2", "#F7E3C3", "#E3D5EA", "#D9D9D9")
_POINTS = (("#0072B2", "o"), ("#B0330F", "^"), ("#4A0D67", "s"), ("#111111", "D"))


def use_style():
    """Set the book's style for all figures made from now on; in a notebook, draw them as SVG.

    SVG stays crisp on every screen and keeps its proportions when a narrow page shrinks it.
    """
    import matplotlib

    matplotlib.rcParams.update(
        {
            "figure.figsize": (5, 3.2),
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "font.size": 11,
            "axes.titlesize": 11,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": "#555555",
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#E3E3E3",
            "lines.linewidth": 2,
            "lines.markersize": 6,
            "legend.frameon": False,
            "svg.hashsalt": "robustlib",
        }
    )
    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        from matplotlib_inline.config import InlineBackend

        InlineBackend.instance().figure_formats = {"svg"}


def model_colour(name):
    """Return the colour that the model `name` has in every figure of the book."""
    _require(name in MODEL_COLOURS, f"no model is called {name!r}: use one of {[*MODEL_COLOURS]}")
    return MODEL_COLOURS[name]


def strip(images, adversarial, labels, logits, adversarial_logits, *, epsilon=None, names=None):
    """Draw images, perturbations and adversarial images in three rows, with the predictions.

    Above each image stands what the model predicts and how sure it is (the softmax of its logits);
    a wrong prediction has a cross and another colour. Up to six images are readable on a phone.

    Args:
        images: `[N, H, W, C]` in [0, 1], C 1 or 3.
        adversarial: `[N, H, W, C]`, the images after the attack.
        labels: `[N]`, the true classes.
        logits: `[N, K]`, the model's output on `images`.
        adversarial_logits: `[N, K]`, its output on `adversarial`.
        epsilon: a pixel change of this size has the full colour; None takes the largest one.
        names: K class names; None shows the numbers.

    Returns:
        The figure.
    """
    import matplotlib.pyplot as plt

    images, adversarial = _images(images), _images(adversarial)
    labels, n = np.asarray(labels), len(images)
    logits, adversarial_logits = np.asarray(logits), np.asarray(adversarial_logits)
    _require(
        images.shape == adversarial.shape,
        f"images {images.shape} and adversarial images {adversarial.shape} differ in shape: "
        "pass the same examples",
    )
    _require(labels.shape == (n,), f"labels have shape {labels.shape}, expected ({n},)")
    for values in (logits, adversarial_logits):
        _require(
            values.ndim == 2 and len(values) == n,
            f"logits have shape {values.shape}, expected ({n}, K): pass the model's whole output",
        )
    delta = adversarial - images
    scale = float(np.abs(delta).max() if epsilon is None else epsilon) or 1.0
    size = 5 / max(n, 4)
    figure, axes = plt.subplots(
        3, n, figsize=(n * size + 0.9, 3 * size + 1.2), squeeze=False, layout="constrained"
    )
    for i in range(n):
        _show(axes[0, i], images[i], *_verdict(logits[i], labels[i], names))
        if images.shape[-1] == 1:
            mapped = axes[1, i].imshow(delta[i, ..., 0], cmap="RdBu_r", vmin=-scale, vmax=scale)
            _show(axes[1, i])
        else:
            _show(axes[1, i], 0.5 + delta[i] / (2 * scale))
        _show(axes[2, i], adversarial[i], *_verdict(adversarial_logits[i], labels[i], names))
    for ax, text in zip(axes[:, 0], ("image", "perturbation", "adversarial"), strict=True):
        ax.set_ylabel(text)
    if images.shape[-1] == 1:
        ticks = [-scale, 0, scale]
        bar = figure.colorbar(mapped, ax=axes[1, :], ticks=ticks, aspect=8, fraction=0.05)
        bar.ax.set_yticklabels([f"{tick:+.2g}" if tick else "0" for tick in ticks])
        bar.outline.set_linewidth(0.5)
    else:
        axes[1, 0].set_ylabel(f"perturbation\n±{scale:.2g}, grey: 0")
    return figure


def image_grid(images, titles=None, *, columns=5):
    """Draw images in rows, each under its title; return the figure.

    Args:
        images: `[N, H, W, C]` in [0, 1], C 1 or 3.
        titles: N strings; None for none.
        columns: images a row.
    """
    import matplotlib.pyplot as plt

    images = _images(images)
    titles = [""] * len(images) if titles is None else titles
    _require(
        len(titles) == len(images),
        f"{len(titles)} titles for {len(images)} images: pass one for each",
    )
    columns = min(columns, len(images))
    rows, size = -(-len(images) // columns), 5 / max(columns, 4)
    lines = max(title.count("\n") + 1 if title else 0 for title in titles)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(columns * size, rows * (size + 0.22 * lines)),
        squeeze=False,
        layout="constrained",
    )
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, image, title in zip(axes.flat, images, titles, strict=False):
        _show(ax, image, title)
    return figure


def epsilon_curves(ax, epsilons, curves, intervals=None):
    """Draw accuracy against epsilon, one line for each model or attack; return the lines.

    Args:
        ax: matplotlib axes.
        epsilons: `[E]`, pixel units.
        curves: name -> accuracies `[E]` in [0, 1]. The names in `MODEL_COLOURS` keep their colour.
        intervals: name -> `[E, 2]`, lower and upper ends, drawn as bands; None for none.
    """
    epsilons = np.asarray(epsilons)
    curves = {name: np.asarray(values) for name, values in curves.items()}
    intervals = {name: np.asarray(values) for name, values in (intervals or {}).items()}
    for name, values in curves.items():
        _require(
            values.shape == epsilons.shape,
            f"curve {name!r} has shape {values.shape}, epsilons have {epsilons.shape}: "
            "pass one accuracy for each epsilon",
        )
    for name, values in intervals.items():
        _require(name in curves, f"the interval {name!r} has no curve: use one of {[*curves]}")
        _require(
            values.shape == (*epsilons.shape, 2),
            f"interval {name!r} has shape {values.shape}, expected ({epsilons.size}, 2)",
        )
    lines = []
    for name, style in _styles(curves).items():
        lines += ax.plot(epsilons, curves[name], label=name, **style)
        if name in intervals:
            ax.fill_between(epsilons, *intervals[name].T, color=style["color"], alpha=0.2, lw=0)
    ax.set(xlabel="epsilon", ylabel="accuracy", ylim=(-0.03, 1.03))
    ax.yaxis.set_major_formatter("{x:.0%}")
    ax.legend()
    return lines


def training_curves(ax, losses):
    """Draw the training loss of each model, smoothed by a running mean; return the lines.

    The window is a fiftieth of the shortest run, and the label of the y axis names it.

    Args:
        ax: matplotlib axes.
        losses: name -> `[steps]`, the loss at each step; the runs may differ in length.
    """
    losses = {name: np.asarray(values) for name, values in losses.items()}
    for name, values in losses.items():
        _require(
            values.ndim == 1 and values.size > 0,
            f"losses of {name!r} have shape {values.shape}, expected (steps,) with steps above 0",
        )
    window = max(1, min(len(values) for values in losses.values()) // 50)
    lines = []
    for name, style in _styles(losses).items():
        smooth = np.convolve(losses[name], np.full(window, 1 / window), mode="valid")
        steps = np.arange(window, window + len(smooth))
        style["markevery"] = max(1, len(smooth) // 6)
        lines += ax.plot(steps, smooth, label=name, **style)
    ax.set(xlabel="training step", ylim=(0, None))
    ax.set_ylabel("loss" if window == 1 else f"loss (mean of {window} steps)")
    ax.legend()
    return lines


def decision_regions(ax, logits_fn, limits, points=None, labels=None, *, resolution=200):
    """Colour the plane by predicted class, and draw points with their labels' colour and marker.

    Args:
        ax: matplotlib axes.
        logits_fn: `[M, 2]` points -> `[M, K]` logits, K up to 4.
        limits: `(left, right, bottom, top)`.
        points: `[N, 2]`; None for none.
        labels: `[N]`, the points' classes.
        resolution: grid points a side.

    Returns:
        The regions, one `ContourSet` for each class that is predicted somewhere.
    """
    left, right, bottom, top = limits
    x, y = np.meshgrid(np.linspace(left, right, resolution), np.linspace(bottom, top, resolution))
    logits = np.asarray(logits_fn(np.stack([x.ravel(), y.ravel()], axis=-1).astype(np.float32)))
    _require(
        logits.ndim == 2 and len(logits) == x.size and 2 <= logits.shape[1] <= len(_POINTS),
        f"logits_fn returned shape {logits.shape}, expected ({x.size}, K) with K from 2 to 4",
    )
    regions = []
    for k in range(logits.shape[1]):
        lead = logits[:, k] - np.delete(logits, k, axis=1).max(axis=1)
        if lead.max() > 0:
            lead = lead.reshape(x.shape)
            regions.append(ax.contourf(x, y, lead, [0, lead.max() * 1.01], colors=[_REGIONS[k]]))
            if lead.min() < 0:
                ax.contour(x, y, lead, [0], colors="#555555", linewidths=1)
    if points is not None:
        points, labels = np.asarray(points), np.asarray(labels)
        _require(
            points.ndim == 2 and points.shape[1] == 2 and labels.shape == points.shape[:1],
            f"points have shape {points.shape} and labels {labels.shape}, expected (N, 2) and (N,)",
        )
        for k in np.unique(labels):
            colour, marker = _POINTS[k]
            ax.scatter(
                *points[labels == k].T,
                c=colour,
                marker=marker,
                s=30,
                ec="white",
                lw=0.7,
                label=f"class {k}",
            )
    ax.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    ax.grid(False)
    return regions


def draw_ball(ax, centre, epsilon, norm):
    """Draw the ball of radius epsilon around a point of the plane, and return the patch.

    Args:
        ax: matplotlib axes.
        centre: `[2]`.
        epsilon: the radius, in the units of the axes.
        norm: "l-inf" (a square) or "l-2" (a circle), the name of a threat model.
    """
    from matplotlib.patches import Circle, Rectangle

    _require(norm in ("l-inf", "l-2"), f'norm is {norm!r}: use "l-inf" or "l-2"')
    _require(np.shape(centre) == (2,), f"centre has shape {np.shape(centre)}, expected (2,)")
    line = {"fill": False, "edgecolor": "#111111", "linewidth": 1.5}
    if norm == "l-2":
        return ax.add_patch(Circle(centre, epsilon, **line))
    corner = np.asarray(centre) - epsilon
    return ax.add_patch(Rectangle(corner, 2 * epsilon, 2 * epsilon, **line))


def reliability(ax, confidences, correct, *, bins=10):
    """Draw accuracy against confidence: a calibrated model's bars end on the diagonal.

    The number of predictions stands above each bar. (Guo et al., On calibration of modern neural
    networks, ICML 2017, section 2.)

    Args:
        ax: matplotlib axes.
        confidences: `[N]` in [0, 1], the probability of each predicted class.
        correct: `[N]` bool, whether the prediction is right.
        bins: number of bars.

    Returns:
        The bars.
    """
    confidences, correct = np.asarray(confidences), np.asarray(correct)
    _require(
        confidences.ndim == 1 and confidences.shape == correct.shape and confidences.size > 0,
        f"confidences have shape {confidences.shape} and correct {correct.shape}, "
        "expected (N,) for both",
    )
    which = np.minimum((confidences * bins).astype(int), bins - 1)
    counts = np.bincount(which, minlength=bins)
    accuracy = np.bincount(which, weights=correct, minlength=bins) / np.maximum(counts, 1)
    bars = ax.bar(
        (np.arange(bins) + 0.5) / bins, accuracy, 0.9 / bins, color=MODEL_COLOURS["standard"]
    )
    ax.bar_label(bars, [f"{count:,}" if count else "" for count in counts], fontsize=8, padding=2)
    ax.plot([0, 1], [0, 1], "--", color="#111111", lw=1.5, label="calibrated")
    ax.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.1))
    ax.xaxis.set_major_formatter("{x:.0%}")
    ax.yaxis.set_major_formatter("{x:.0%}")
    ax.legend()
    return bars


def _require(condition, message):
    if not condition:
        raise ValueError(message)


def _images(images):
    images = np.asarray(images)
    _require(
        images.ndim == 4 and len(images) and images.shape[-1] in (1, 3),
        f"images have shape {images.shape}, expected (N, H, W, C) with N above 0 and C 1 or 3: "
        "for a single image pass image[None]",
    )
    return images


def _styles(names):
    """Return name -> keywords of `ax.plot`; names that are no model's get the other styles."""
    others = iter(_OTHERS)
    free = len(_OTHERS)
    strange = [name for name in names if name not in _MODELS]
    _require(
        len(strange) <= free, f"{len(strange)} curves without a colour of their own, at most {free}"
    )
    chosen = {name: _MODELS.get(name) or next(others) for name in names}
    keys = ("color", "linestyle", "marker")
    return {name: dict(zip(keys, style, strict=True)) for name, style in chosen.items()}


def _verdict(logits, label, names):
    """Return the title "✓ 7, 99 %" and its colour."""
    probabilities = np.exp(logits - logits.max())
    probabilities /= probabilities.sum()
    winner = int(probabilities.argmax())
    name = str(winner) if names is None else names[winner]
    sign, colour = ("✓", _RIGHT) if winner == label else ("✗", _WRONG)
    gap = "\n" if len(name) > 2 else " "
    return f"{sign} {name},{gap}{probabilities[winner]:.0%}".replace("%", " %"), colour


def _show(ax, image=None, title="", colour=_RIGHT):
    """Show an image with [0, 1] as black to white, under its title, without ticks."""
    if image is not None:
        ax.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="none")
    ax.set_title(title, color=colour, fontsize=10)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(visible=True, linewidth=0.5)
