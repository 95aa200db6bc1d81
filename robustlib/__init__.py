"""Adversarial training in JAX: attacks, training and honest evaluation, small enough to read."""

from robustlib import exercises, plotting
from robustlib.attacks import fgsm, noise, pgd
from robustlib.auto_pgd import apgd, apgd_targeted
from robustlib.comparisons import paired_interval
from robustlib.data import Dataset, Split, load_dataset
from robustlib.evaluation import accuracy, evaluate_robustness, robust_accuracy
from robustlib.fitting import FitResult, create_state, fit
from robustlib.logits import logits_fn
from robustlib.losses import cross_entropy, dlr, margin, targeted_dlr
from robustlib.models import MLP, SmallCNN
from robustlib.recipes import RECIPES, Recipe, fit_or_load, recipe
from robustlib.report import RobustnessReport, wilson_interval
from robustlib.square_attack import square
from robustlib.threat import L1, L2, Linf
from robustlib.training import (
    MinMax,
    Mixed,
    Standard,
    adversarial_train_step,
    fgsm_attack,
    pgd_train_step,
    standard_train_step,
)

__version__ = "0.2.0"

__all__ = [
    "L1",
    "L2",
    "MLP",
    "RECIPES",
    "Dataset",
    "FitResult",
    "Linf",
    "MinMax",
    "Mixed",
    "Recipe",
    "RobustnessReport",
    "SmallCNN",
    "Split",
    "Standard",
    "accuracy",
    "adversarial_train_step",
    "apgd",
    "apgd_targeted",
    "create_state",
    "cross_entropy",
    "dlr",
    "evaluate_robustness",
    "exercises",
    "fgsm",
    "fgsm_attack",
    "fit",
    "fit_or_load",
    "load_dataset",
    "logits_fn",
    "margin",
    "noise",
    "paired_interval",
    "pgd",
    "pgd_train_step",
    "plotting",
    "recipe",
    "robust_accuracy",
    "square",
    "standard_train_step",
    "targeted_dlr",
    "wilson_interval",
]
