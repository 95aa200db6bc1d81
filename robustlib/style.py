"""The look of the book: one style for all figures, one colour for each model."""

import sys

MODELS = {
    "standard": ("#385BAD", "-", "o"),
    "FGSM-mixed 0.1": ("#C98500", "--", "s"),
    "FGSM-mixed 0.3": ("#B0330F", "-.", "^"),
    "PGD": ("#4A0D67", (0, (5, 1, 1, 1, 1, 1)), "D"),
    "PGD l-2": ("#9D20FC", (0, (8, 2)), "p"),
    "noise": ("#7A7A7A", ":", "v"),
}
OTHERS = ("#111111", "-", "P"), ("#55A369", "--", "X"), ("#111111", ":", "*")
REGIONS = "#D6E6F2", "#F7E3C3", "#E3D5EA", "#D9D9D9"
POINTS = ("#385BAD", "o"), ("#B0330F", "^"), ("#4A0D67", "s"), ("#111111", "D")
TEXT, WRONG = "#222222", "#B00020"

MODEL_COLOURS = {name: style[0] for name, style in MODELS.items()}


def use_style():
    """Set the book's style for every figure made from now on; in a notebook, draw them as SVG.

    SVG is crisp on every screen and keeps its proportions when a narrow page shrinks it.
    """
    import matplotlib

    ipython = sys.modules.get("IPython")
    if ipython is not None and ipython.get_ipython() is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg")
    matplotlib.rcParams.update(
        {
            "figure.figsize": (5, 3.2),
            "figure.constrained_layout.use": True,
            "font.size": 11,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#E3E3E3",
            "lines.linewidth": 2,
            "legend.frameon": False,
            "legend.handlelength": 3,
            "legend.loc": (0, 1),  # above the axes, where it covers no curve
        }
    )


def model_colour(name):
    """Return the colour that the model `name` has in every figure of the book."""
    if name not in MODEL_COLOURS:
        raise ValueError(f"no model is called {name!r}: use one of {', '.join(MODEL_COLOURS)}.")
    return MODEL_COLOURS[name]


def line_styles(names):
    """Return colour, line style and marker for each name: a model's own, else a neutral one."""
    others = [name for name in names if name not in MODELS]
    if len(others) > len(OTHERS):
        raise ValueError(f"{others} are too many to tell apart: draw at most {len(OTHERS)}.")
    styles = MODELS | dict(zip(others, OTHERS, strict=False))
    keys = "color", "linestyle", "marker"
    return {name: dict(zip(keys, styles[name], strict=True)) for name in names}
