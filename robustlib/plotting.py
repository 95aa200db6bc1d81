"""Figures in one style: plain arrays and axes in, matplotlib's artists out.

A chapter calls `use_style()` once, in its set-up cell. After that, `strip` and `image_grid` return
a figure, and every other function draws on axes that the chapter makes with `plt.subplots()`.

Alternative text is metadata of the code cell that shows the figure, one figure a cell::

    "mystnb": {"image": {"alt": "Line chart: accuracy falls as epsilon grows."}}

The built book writes it into `<img alt="...">`. JupyterLab and Colab have no place for it, so the
sentence above the cell tells their readers what to see. Both must be true for every run.

The panel is white in the dark theme too, which dims it. Colours have a contrast of 3 : 1 to it and
differ for colour-blind readers; a line style, marker or sign repeats what a colour says. Figures
are 5 inches wide, so that a phone shows their text large enough.
"""

import numpy as np

from robustlib import checks
from robustlib.style import (
    MODEL_COLOURS,
    POINTS,
    REGIONS,
    TEXT,
    WRONG,
    line_styles,
    model_colour,
    use_style,
)

__all__ = [
    "MODEL_COLOURS",
    "decision_regions",
    "draw_ball",
    "epsilon_curves",
    "image_grid",
    "model_colour",
    "reliability",
    "strip",
    "training_curves",
    "use_style",
]


def strip(images, adversarial, labels, logits, adversarial_logits, *, epsilon=None, names=None):
    """Draw images, perturbations and adversarial images in three rows, and return the figure.

    Above each image stands what the model predicts and how sure it is (the softmax of its logits):
    a tick if it is right, a cross and another colour if it is wrong. No change is white, or grey
    where C is 3. Five images fit a phone, four if the classes have names.

    Args:
        images: `[N, H, W, C]` in [0, 1], C 1 or 3.
        adversarial: `[N, H, W, C]`, the same images after the attack.
        labels: `[N]`, the true classes.
        logits: `[N, K]`, the model's output for `images`.
        adversarial_logits: `[N, K]`, its output for `adversarial`.
        epsilon: the pixel change drawn in full colour; None takes the largest one.
        names: K class names; None shows the class numbers.
    """
    import matplotlib.pyplot as plt

    images, adversarial = _as_images(images), _as_images(adversarial)
    labels, n = np.asarray(labels), len(images)
    checks.check_labels(labels, images)
    _check_shape("adversarial", adversarial, images.shape, "pass the attack's result for images")
    outputs = np.asarray(logits), np.asarray(adversarial_logits)
    for name, output in zip(("logits", "adversarial_logits"), outputs, strict=True):
        _check_shape(name, output, (n, "K"), "pass the model's whole output")
    if names is not None:
        _check_shape("names", names, outputs[0].shape[1:], "pass one name for each class")
    delta = adversarial - images
    scale = float(np.abs(delta).max() if epsilon is None else epsilon) or 1.0
    size, grey = max(0.8, 4 / max(n, 3)), images.shape[-1] == 1
    shape = n * size + 1, 3 * size + 0.9
    figure, axes = plt.subplots(3, n, figsize=shape, squeeze=False, layout="compressed")
    for i, (top, middle, bottom) in enumerate(axes.T):
        _show(top, images[i], *_verdict(outputs[0][i], labels[i], names))
        _show(middle, delta[i] if grey else np.clip(0.5 + delta[i] / (2 * scale), 0, 1))
        _show(bottom, adversarial[i], *_verdict(outputs[1][i], labels[i], names))
    axes[0, 0].set_ylabel("image")
    axes[1, 0].set_ylabel("perturbation" if grey else f"perturbation\n±{scale:.2g}, grey: 0")
    axes[2, 0].set_ylabel("adversarial")
    if not grey:
        return figure
    for ax in axes[1]:
        ax.images[0].set(cmap="RdBu_r", clim=(-scale, scale))
    ticks = [-scale, 0, scale]
    bar = figure.colorbar(ax.images[0], ax=axes[1], ticks=ticks, aspect=8, pad=0.02)
    bar.ax.set_yticklabels([f"−{scale:.2g}", "0", f"+{scale:.2g}"])
    return figure


def image_grid(images, titles=None, *, columns=5):
    """Draw images in rows, each under its title, and return the figure.

    Args:
        images: `[N, H, W, C]` in [0, 1], C 1 or 3.
        titles: N strings, which may have several lines; None for no titles.
        columns: images a row; up to five fit a phone.
    """
    import matplotlib.pyplot as plt

    images = _as_images(images)
    titles = [""] * len(images) if titles is None else list(titles)
    _check_shape("titles", titles, (len(images),), "pass one for each image")
    columns = min(columns, len(images))
    rows, size = -(-len(images) // columns), 5 / max(columns, 4)
    lines = max(len(title.splitlines()) for title in titles)
    shape = columns * size, rows * (size + 0.22 * lines)
    figure, axes = plt.subplots(rows, columns, figsize=shape, squeeze=False, layout="compressed")
    for ax in axes.flat[len(images) :]:
        ax.set_axis_off()
    for ax, image, title in zip(axes.flat, images, titles, strict=False):
        _show(ax, image, title)
    return figure


def epsilon_curves(ax, epsilons, curves, intervals=None):
    """Draw accuracy against epsilon, one line for each model or attack, and return the lines.

    Args:
        ax: matplotlib axes.
        epsilons: `[E]`, in pixel units.
        curves: name -> accuracies `[E]` in [0, 1]; the names in `MODEL_COLOURS` keep their colour.
        intervals: name -> `[E, 2]`, lower and upper ends, drawn as bands; None for no bands.
    """
    epsilons, lines = np.asarray(epsilons), []
    intervals = {} if intervals is None else intervals
    if unknown := set(intervals) - set(curves):
        raise ValueError(f"the intervals {unknown} have no curve: use the names of the curves.")
    for name, accuracies in curves.items():
        _check_shape(name, accuracies, epsilons.shape, "pass one accuracy for each epsilon")
        _check_shares(name, accuracies)
    for name, ends in intervals.items():
        _check_shape(name, ends, (*epsilons.shape, 2), "pass a lower and an upper end a point")
    for name, style in line_styles(curves).items():
        lines += ax.plot(epsilons, curves[name], label=name, **style)
        if name in intervals:
            low, high = np.asarray(intervals[name]).T
            ax.fill_between(epsilons, low, high, color=style["color"], alpha=0.2, linewidth=0)
    ax.set(xlabel="epsilon", ylabel="accuracy", ylim=(-0.03, 1.03))
    ax.yaxis.set_major_formatter(_percent)
    ax.legend(ncols=2)
    return lines


def training_curves(ax, losses):
    """Draw the training loss of each model, smoothed by a running mean, and return the lines.

    Losses is a dict, name -> `[steps]`, and the runs may differ in length. The window is a fiftieth
    of the shortest run; the label of the y axis names it.
    """
    lines = []
    for name, values in losses.items():
        _check_shape(name, values, ("steps",), "pass the loss of each step, at least one")
    window = max(1, min(map(len, losses.values())) // 50)
    for name, style in line_styles(losses).items():
        means = np.convolve(losses[name], np.full(window, 1 / window), mode="valid")
        steps, every = np.arange(window, window + len(means)), max(1, len(means) // 6)
        lines += ax.plot(steps, means, label=name, markevery=every, **style)
    loss = "loss" if window == 1 else f"loss (mean of {window} steps)"
    ax.set(xlabel="training step", ylabel=loss, ylim=(0, None))
    ax.legend(ncols=2)
    return lines


def decision_regions(ax, logits_fn, limits, points=None, labels=None):
    """Colour the plane by predicted class, draw points by label, and return the regions.

    Args:
        ax: matplotlib axes.
        logits_fn: points `[M, 2]` -> logits `[M, K]`, K from 2 to 4.
        limits: (left, right, bottom, top).
        points: `[N, 2]`; None for no points.
        labels: `[N]`, the classes of the points.
    """
    left, right, bottom, top = limits
    x, y = np.meshgrid(np.linspace(left, right, 200), np.linspace(bottom, top, 200))
    grid = np.stack([x, y], axis=-1).reshape(-1, 2).astype(np.float32)
    logits, regions = np.asarray(logits_fn(grid)), []
    _check_shape("the result of logits_fn", logits, (len(grid), "K"), "return [M, K] for [M, 2]")
    if not 2 <= logits.shape[1] <= 4:
        raise ValueError(f"logits_fn has {logits.shape[1]} classes: use one that has 2, 3 or 4.")
    if points is not None:
        points, labels = np.asarray(points), np.asarray(labels)
        _check_shape("points", points, ("N", 2), "pass points of the plane")
        checks.check_labels(labels, points, classes=logits.shape[1])
    for k in range(logits.shape[1]):
        # How far class k leads; its region is where this is positive, bounded by its zero line.
        lead = (logits[:, k] - np.delete(logits, k, axis=1).max(axis=1)).reshape(x.shape)
        if lead.max() > 0:
            regions.append(ax.contourf(x, y, lead, [0, lead.max() * 1.01], colors=REGIONS[k]))
        if lead.min() < 0 < lead.max():
            ax.contour(x, y, lead, [0], colors="#555555", linewidths=1)
        if points is not None:
            colour, marker = POINTS[k]
            ax.scatter(*points[labels == k].T, c=colour, marker=marker, edgecolors="white")
    ax.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
    ax.grid(False)
    return regions


def draw_ball(ax, centre, epsilon, norm):
    """Draw the ball of radius epsilon round a point `[2]` of the plane, and return the patch.

    Norm is the name of a threat model, "l-inf" (the ball is a square) or "l-2" (a circle).
    """
    from matplotlib.patches import Circle, Rectangle

    centre = np.asarray(centre)
    _check_shape("centre", centre, (2,), "pass one point of the plane")
    line = {"fill": False, "edgecolor": TEXT, "linewidth": 1.5}
    if norm == "l-2":
        return ax.add_patch(Circle(centre, epsilon, **line))
    if norm == "l-inf":
        return ax.add_patch(Rectangle(centre - epsilon, 2 * epsilon, 2 * epsilon, **line))
    raise ValueError(f'norm is {norm!r}: use "l-inf" or "l-2".')


def reliability(ax, confidences, correct):
    """Draw accuracy against confidence; the bars of a calibrated model end at the diagonal.

    Confidences `[N]` are the probabilities of the predicted classes, correct `[N]` says which are
    right. Returns the ten bars; above them stand the numbers of predictions. Guo et al., On
    Calibration of Modern Neural Networks (2017), section 2.
    """
    confidences, correct = np.asarray(confidences), np.asarray(correct)
    _check_shape("confidences", confidences, ("N",), "pass the confidence of each prediction")
    _check_shape("correct", correct, confidences.shape, "pass one truth value a confidence")
    _check_shares("confidences", confidences)
    index = np.minimum((confidences * 10).astype(int), 9)
    counts = np.bincount(index, minlength=10)
    accuracies = np.bincount(index, weights=correct, minlength=10) / np.maximum(counts, 1)
    middles = np.arange(0.05, 1, 0.1)
    bars = ax.bar(middles, accuracies, 0.09, color=MODEL_COLOURS["standard"], label="model")
    ax.plot([0, 1], [0, 1], "--", color=TEXT, linewidth=1.5, label="calibrated")
    for middle, count in zip(middles, counts, strict=True):
        ax.text(middle, 1.04, count, ha="center", fontsize=9)
    ax.set(xlim=(0, 1), ylim=(0, 1.12), ylabel="accuracy")
    ax.set_xlabel("confidence (top row: number of predictions)")
    ax.xaxis.set_major_formatter(_percent)
    ax.yaxis.set_major_formatter(_percent)
    ax.legend(ncols=2)
    return bars


def _check_shape(name, array, expected, advice):
    """Raise unless the array has the expected shape, where a letter is any size above 0."""
    shape = np.shape(array)
    fits = len(shape) == len(expected) and 0 not in shape
    if not fits or any(w not in (s, str(w)) for w, s in zip(expected, shape, strict=True)):
        wanted = ", ".join(map(str, expected))
        raise ValueError(f"{name} must have the shape [{wanted}], but has {shape}: {advice}.")


def _check_shares(name, values):
    low, high = np.min(values), np.max(values)
    if not (low >= 0 and high <= 1 + 1e-6):
        raise ValueError(f"{name} reaches from {low} to {high}: give shares of 1, not per cent.")


def _as_images(images):
    images = np.asarray(images)
    checks.check_images(images)
    if images.shape[-1] not in (1, 3):
        raise ValueError(f"images have {images.shape[-1]} channels: only 1 or 3 can be drawn.")
    return images


def _percent(value, _=None):
    return f"{100 * value:.0f} %"


def _verdict(logits, label, names):
    """Return a title, such as "✓ 7, 99 %", and its colour."""
    k, confidence = int(logits.argmax()), 1 / np.exp(logits - logits.max()).sum()
    name = str(k) if names is None else names[k]
    sign, colour = ("✓", TEXT) if k == label else ("✗", WRONG)
    gap = " " if len(name) < 3 else "\n"
    return f"{sign} {name},{gap}{_percent(confidence)}", colour


def _show(ax, image, title="", colour=TEXT):
    ax.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="none")
    ax.set_title(title, color=colour, fontsize=10)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(visible=True, linewidth=0.5)
