"""The book's style: colours that colour-blind readers tell apart, in both themes, small figures."""

import itertools
import subprocess
import sys

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from robustlib import plotting, style

# Machado, Oliveira and Fernandes (2009), table 1, severity 1.0, for linear RGB.
VISIONS = {
    "all colours": np.eye(3),
    "no red cones": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no green cones": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no blue cones": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def light(rgb):
    """What the light theme shows."""
    return np.asarray(rgb)


def dark(rgb):
    """What the book's dark theme makes of an image: filter: brightness(.8) contrast(1.2)."""
    return np.clip((np.asarray(rgb) * 0.8 - 0.5) * 1.2 + 0.5, 0, 1)


def linear(rgb):
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def luminance(rgb):
    return linear(rgb) @ [0.2126, 0.7152, 0.0722]


def contrast(first, second):
    low, high = sorted([luminance(first), luminance(second)])
    return (high + 0.05) / (low + 0.05)


def cielab(rgb, vision):
    seen = np.clip(np.asarray(vision) @ linear(rgb), 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(np.maximum(to_xyz @ seen / [0.9505, 1, 1.089], 1e-6))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def line_colours():
    return [*plotting.MODEL_COLOURS.values(), *{colour for colour, *_ in style.OTHERS}]


@pytest.mark.parametrize("theme", [light, dark])
def test_lines_and_signs_stand_out_from_the_panel(theme):
    panel = theme(np.ones(3))
    assert min(contrast(theme(to_rgb(colour)), panel) for colour in line_colours()) >= 3
    for colour in (style.TEXT, style.WRONG):  # text needs more: WCAG 2.1, 1.4.3
        assert contrast(theme(to_rgb(colour)), panel) >= 4.5


@pytest.mark.parametrize("theme", [light, dark])
@pytest.mark.parametrize("vision", VISIONS)
def test_lines_differ_for_colour_blind_readers(theme, vision):
    seen = [cielab(theme(np.array(to_rgb(c))), VISIONS[vision]) for c in line_colours()]
    distances = [np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)]
    assert min(distances) >= 20


def test_the_simulation_sees_that_red_and_green_are_confused():
    red, green = np.array(to_rgb("#C04040")), np.array(to_rgb("#6E7A20"))
    apart = {
        name: np.linalg.norm(cielab(red, vision) - cielab(green, vision))
        for name, vision in VISIONS.items()
    }
    assert apart["all colours"] > 60 > 20 > apart["no green cones"]


def test_points_stand_out_from_regions():
    for region, (colour, _) in itertools.product(style.REGIONS, style.POINTS):
        assert contrast(np.array(to_rgb(region)), np.array(to_rgb(colour))) >= 3


def test_colour_is_never_the_only_cue():
    styles = [*style.MODELS.values(), *style.OTHERS]
    assert len({marker for *_, marker in styles}) == len(styles)
    assert len({line for _, line, _ in style.MODELS.values()}) == len(style.MODELS)
    assert len({marker for _, marker in style.POINTS}) == len(style.POINTS)


def test_figures_are_small_and_white():
    with matplotlib.rc_context():
        plotting.use_style()
        figure, ax = plt.subplots()
        size = plt.rcParams["font.size"]
        plt.close(figure)
    assert figure.get_facecolor() == ax.get_facecolor() == (1, 1, 1, 1)
    assert figure.get_figwidth() == 5
    # On a phone 390 pixels wide the page leaves a figure some 335: letters of about 10 pixels.
    assert size / 72 * 335 / figure.get_figwidth() >= 10


def test_notebooks_draw_svg():
    code = (
        "from IPython.core.interactiveshell import InteractiveShell as Shell\n"
        "import matplotlib; matplotlib.use('module://matplotlib_inline.backend_inline')\n"
        "shell = Shell.instance()\n"
        "from robustlib import plotting, style; plotting.use_style()\n"
        "import matplotlib.pyplot as plt\n"
        "data, _ = shell.display_formatter.format(plt.subplots()[0])\n"
        "assert set(data) == {'text/plain', 'image/svg+xml'}, set(data)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
