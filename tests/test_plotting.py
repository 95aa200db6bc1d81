"""Figures are what was asked, and leave nothing behind."""

import itertools
import subprocess
import sys

import jax.numpy as jnp
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex

from robustlib import plotting


@pytest.fixture(autouse=True)
def clean():
    """Give each test the book's style, and close its figures."""
    with matplotlib.rc_context():
        plotting.use_style()
        yield
    plt.close("all")


@pytest.fixture
def ax():
    return plt.figure().add_subplot()


def examples(n=3, channels=1):
    """Images, adversarial images (a corner up by 0.2, one down by 0.1), labels, two outputs."""
    images = np.full((n, 8, 8, channels), 0.5, np.float32)
    adversarial = images.copy()
    adversarial[:, 0, 0] += 0.2
    adversarial[:, 7, 7] -= 0.1
    labels = np.arange(n, dtype=np.int32)
    return images, adversarial, labels, 9 * np.eye(10)[labels], 3 * np.eye(10)[labels + 1]


def test_model_colour():
    assert plotting.model_colour("PGD") == plotting.MODEL_COLOURS["PGD"]
    with pytest.raises(ValueError, match="no model is called 'pgd': use one of standard, FGSM-"):
        plotting.model_colour("pgd")


# --- images


def test_strip_shows_images_predictions_and_confidence():
    images, adversarial, labels, logits, fooled = examples()
    fooled[1] = logits[1]
    figure = plotting.strip(images, adversarial, labels, logits, fooled, epsilon=0.2)
    grid = np.array(figure.axes[:9]).reshape(3, 3)
    assert [ax.get_title() for ax in grid[0]] == ["✓ 0, 100 %", "✓ 1, 100 %", "✓ 2, 100 %"]
    assert [ax.get_title() for ax in grid[2]] == ["✗ 1, 69 %", "✓ 1, 100 %", "✗ 3, 69 %"]
    assert [to_hex(ax.title.get_color()) for ax in grid[2]] == ["#b00020", "#222222", "#b00020"]
    assert [ax.get_ylabel() for ax in grid[:, 0]] == ["image", "perturbation", "adversarial"]
    np.testing.assert_array_equal(grid[2, 1].images[0].get_array(), adversarial[1, ..., 0])


def test_strip_draws_no_change_in_white_and_epsilon_in_full_colour():
    figure = plotting.strip(*examples(), epsilon=0.2)
    pixels = figure.axes[3].images[0].make_image(figure.canvas.get_renderer(), unsampled=True)[0]
    red, blue, none = pixels[0, 0], pixels[7, 7], pixels[3, 3]
    assert none[:3].min() > 240
    assert red[0] > red[2] and blue[2] > blue[0]
    assert red[:3].sum() < blue[:3].sum()  # 0.2 is drawn in full colour, 0.1 is paler
    bar = figure.axes[-1]
    assert [tick.get_text() for tick in bar.get_yticklabels()] == ["−0.2", "0", "+0.2"]


def test_strip_scales_by_the_largest_change_unless_told():
    figure = plotting.strip(*examples())
    assert figure.axes[3].images[0].get_clim() == pytest.approx((-0.2, 0.2))
    images, _, labels, logits, _ = examples()
    figure = plotting.strip(images, images, labels, logits, logits)  # no change at all
    assert figure.axes[3].images[0].get_clim() == (-1, 1)


def test_strip_in_colour_draws_no_change_in_grey():
    figure = plotting.strip(*examples(channels=3), epsilon=0.2)
    assert len(figure.axes) == 9
    shown = figure.axes[3].images[0].get_array()
    np.testing.assert_allclose(shown[3, 3], 0.5)
    np.testing.assert_allclose(shown[0, 0], 1.0)
    np.testing.assert_allclose(shown[7, 7], 0.25, atol=1e-6)
    assert figure.axes[3].get_ylabel() == "perturbation\n±0.2, grey: 0"


def test_strip_takes_class_names_and_jax_arrays():
    names = ["T-shirt", "Trouser", "Pullover", *"3456789"]
    figure = plotting.strip(*map(jnp.asarray, examples()), names=names)
    assert figure.axes[1].get_title() == "✓ Trouser,\n100 %"


@pytest.mark.parametrize("n", [1, 4, 5])
def test_strip_fits_a_narrow_page(n):
    figure = plotting.strip(*examples(n))
    figure.canvas.draw()
    assert figure.get_figwidth() <= 5.4
    titles = [ax.title.get_window_extent() for ax in figure.axes[:n]]
    assert not any(a.x1 > b.x0 for a, b in itertools.pairwise(titles))


def test_image_grid():
    images = examples(7)[0]
    figure = plotting.image_grid(images, [f"says {i}" for i in range(7)], columns=3)
    assert [ax.get_title() for ax in figure.axes] == [f"says {i}" for i in range(7)] + ["", ""]
    assert [len(ax.images) for ax in figure.axes] == [1] * 7 + [0, 0]
    assert [ax.axison for ax in figure.axes] == [True] * 7 + [False, False]
    assert len(plotting.image_grid(examples(2, channels=3)[0]).axes) == 2


# --- curves


def test_epsilon_curves(ax):
    epsilons, interval = [0, 0.1, 0.2], [[0.8, 1], [0.4, 0.6], [0, 0.2]]
    curves = {"PGD": [0.9, 0.5, 0.1], "FGSM": jnp.array([1, 0.8, 0.6])}
    lines = plotting.epsilon_curves(ax, epsilons, curves, {"PGD": interval})
    assert [line.get_label() for line in lines] == ["PGD", "FGSM"]
    assert lines[0].get_color() == plotting.model_colour("PGD")
    assert lines[1].get_color() not in plotting.MODEL_COLOURS.values()
    np.testing.assert_allclose(lines[1].get_xydata(), [[0, 1], [0.1, 0.8], [0.2, 0.6]], rtol=1e-6)
    (band,) = ax.collections
    corners = band.get_paths()[0].vertices
    assert {(0.1, 0.4), (0.1, 0.6)} <= {(x, y) for x, y in corners}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epsilon", "accuracy")
    ax.set_yticks([0.5])
    assert ax.get_yticklabels()[0].get_text() == "50 %"


def test_legend_stands_above_the_curves(ax):
    curves = {name: [1, 0] for name in plotting.MODEL_COLOURS}
    plotting.epsilon_curves(ax, [0, 1], curves)
    ax.figure.canvas.draw()
    legend, axes = ax.get_legend().get_window_extent(), ax.get_window_extent()
    assert legend.y0 >= axes.y1 - 1
    assert legend.x1 <= ax.figure.bbox.x1


def test_training_curves_state_their_smoothing(ax):
    losses = {"standard": np.arange(100.0), "PGD": np.ones(150)}
    standard, pgd = plotting.training_curves(ax, losses)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("training step", "loss (mean of 2 steps)")
    np.testing.assert_allclose(standard.get_xydata()[[0, -1]], [[2, 0.5], [100, 98.5]])
    np.testing.assert_allclose(pgd.get_xydata()[[0, -1]], [[2, 1], [150, 1]])


def test_training_curves_of_one_step(ax):
    (line,) = plotting.training_curves(ax, {"standard": [2.3]})
    np.testing.assert_array_equal(line.get_xydata(), [[1, 2.3]])
    assert ax.get_ylabel() == "loss"
    ax.figure.canvas.draw()


# --- the plane


def test_decision_regions(ax):
    points, labels = np.array([[-1, 0], [1, 0], [2, 0]]), np.array([0, 1, 1])

    def logits_fn(points):
        return jnp.stack([-points[:, 0], points[:, 0]], axis=1)

    regions = plotting.decision_regions(ax, logits_fn, (-3, 3, -1, 1), points, labels)
    left, right = [np.concatenate([p.vertices for p in region.get_paths()]) for region in regions]
    np.testing.assert_allclose([left[:, 0].min(), left[:, 0].max()], [-3, 0], atol=1e-3)
    np.testing.assert_allclose([right[:, 0].min(), right[:, 0].max()], [0, 3], atol=1e-3)
    drawn = [c.get_offsets().tolist() for c in ax.collections if len(c.get_offsets()) > 0]
    assert [[-1, 0]] in drawn and [[1, 0], [2, 0]] in drawn
    assert ax.get_aspect() == 1  # else a ball is no ball


def test_decision_regions_of_a_constant_and_of_three_classes(ax):
    constant = plotting.decision_regions(ax, lambda p: np.ones((len(p), 2)) * [0, 1], (0, 1, 0, 1))
    assert len(constant) == 1
    three = np.array([[1, 0, -1], [0, 1, -1]])
    assert len(plotting.decision_regions(ax, lambda p: p @ three, (-1, 1, -1, 1))) == 3


def test_balls(ax):
    square = plotting.draw_ball(ax, [1, 2], 0.5, "l-inf").get_window_extent()
    circle = plotting.draw_ball(ax, [1, 2], 0.5, "l-2").get_window_extent()
    box = ax.transData.inverted().transform([[square.x0, square.y0], [square.x1, square.y1]])
    np.testing.assert_allclose(box, [[0.5, 1.5], [1.5, 2.5]])
    np.testing.assert_allclose(square.extents, circle.extents)
    assert ax.patches[1].contains_point(ax.transData.transform([1.35, 2.35]))
    assert not ax.patches[1].contains_point(ax.transData.transform([1.36, 2.36]))


def test_reliability(ax):
    bars = plotting.reliability(ax, [1.0, 0.95, 0.93, 0.92, 0.31], [True, True, True, False, False])
    np.testing.assert_allclose([bar.get_height() for bar in bars], [0] * 9 + [0.75])
    assert [text.get_text() for text in ax.texts] == [*"0001000004"]
    assert ax.get_xlabel() == "confidence (top row: number of predictions)"


# --- bad input


IMAGES, ADVERSARIAL, LABELS, LOGITS, FOOLED = examples()
CURVE = {"standard": [1, 0]}
BAD = {
    "adversarial must have the shape .3, 8, 8, 1.* has .2, 8, 8, 1.*": lambda ax: plotting.strip(
        IMAGES, ADVERSARIAL[:2], LABELS, LOGITS, FOOLED
    ),
    "3 images and 2 labels": lambda ax: plotting.strip(
        IMAGES, ADVERSARIAL, LABELS[:2], LOGITS, FOOLED
    ),
    "logits must have the shape .3, K., but has .3,.: pass the model's": lambda ax: plotting.strip(
        IMAGES, ADVERSARIAL, LABELS, LABELS, FOOLED
    ),
    "adversarial_logits must have the shape .3, K.": lambda ax: plotting.strip(
        IMAGES, ADVERSARIAL, LABELS, LOGITS, FOOLED[:2]
    ),
    "names must have the shape .10.": lambda ax: plotting.strip(
        IMAGES, ADVERSARIAL, LABELS, LOGITS, FOOLED, names=["a"]
    ),
    "add the missing axes": lambda ax: plotting.image_grid(IMAGES[0]),
    "images have 2 channels: only 1 or 3": lambda ax: plotting.image_grid(
        np.repeat(IMAGES, 2, axis=-1)
    ),
    "titles must have the shape .3., but has .1,.: pass one for each": lambda ax: (
        plotting.image_grid(IMAGES, ["a"])
    ),
    "standard must have the shape .3., but has .2,.": lambda ax: plotting.epsilon_curves(
        ax, [0, 0.1, 0.2], CURVE
    ),
    "standard reaches from 0 to 98: give shares of 1": lambda ax: plotting.epsilon_curves(
        ax, [0, 1], {"standard": [98, 0]}
    ),
    "standard must have the shape .2, 2.": lambda ax: plotting.epsilon_curves(
        ax, [0, 1], CURVE, {"standard": [0, 1]}
    ),
    "have no curve: use the names": lambda ax: plotting.epsilon_curves(
        ax, [0, 1], CURVE, {"PGD": [[0, 1], [0, 1]]}
    ),
    "too many to tell apart: draw at most 3": lambda ax: plotting.epsilon_curves(
        ax, [0, 1], {name: [1, 0] for name in "abcd"}
    ),
    "standard must have the shape .steps., but has .0,.": lambda ax: plotting.training_curves(
        ax, {"standard": []}
    ),
    "result of logits_fn must have the shape .40000, K.": lambda ax: plotting.decision_regions(
        ax, lambda p: p[:, 0], (0, 1, 0, 1)
    ),
    "logits_fn has 5 classes": lambda ax: plotting.decision_regions(
        ax, lambda p: np.zeros((len(p), 5)), (0, 1, 0, 1)
    ),
    "points must have the shape .N, 2.": lambda ax: plotting.decision_regions(
        ax, lambda p: p, (0, 1, 0, 1), np.zeros((4, 3)), np.zeros(4, int)
    ),
    "norm is 'linf': use .l-inf. or .l-2.": lambda ax: plotting.draw_ball(ax, [0, 0], 1, "linf"),
    "centre must have the shape .2.": lambda ax: plotting.draw_ball(ax, 0, 1, "l-2"),
    "correct must have the shape .2.": lambda ax: plotting.reliability(ax, [1.0, 0.5], [True]),
    "confidences reaches from 0.5 to 99.0": lambda ax: plotting.reliability(
        ax, [99, 0.5], [True, True]
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_named_before_anything_is_drawn(ax, message):
    before = plt.get_fignums()
    with pytest.raises(ValueError, match=message):
        BAD[message](ax)
    assert plt.get_fignums() == before
    assert not ax.has_data()


# --- manners


def test_functions_on_axes_open_no_figure(ax):
    before = plt.get_fignums()
    plotting.epsilon_curves(ax, [0, 1], CURVE)
    plotting.reliability(ax, [0.5], [True])
    assert plt.get_fignums() == before


def run(code):
    return subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_import_leaves_pyplot_alone():
    run("import sys, robustlib.plotting; assert 'matplotlib' not in sys.modules")
    run("import sys, robustlib; assert 'matplotlib.pyplot' not in sys.modules")


def test_import_leaves_scipys_statistics_alone():
    """They would make every import about a second longer, for one interval."""
    run("import sys, robustlib; assert 'scipy.stats' not in sys.modules")
