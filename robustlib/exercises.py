"""Checkers for the reader's answers: each tries the answer on fresh cases and says one sentence."""

from robustlib.exercises_basics import (
    check_expected_calibration_error,
    check_fast_gradient_l2,
    check_margin_after_repainting,
    check_robust_gradient,
    check_smallest_epsilon,
    check_stable_cross_entropy,
    check_targeted_fgsm,
    check_temperature,
)
from robustlib.exercises_browser import (
    check_in_bytes,
    check_logit_gradient,
    check_mean_pool_back,
)
from robustlib.exercises_evaluation import (
    check_checkpoints,
    check_dlr,
    check_robust_share,
)
from robustlib.exercises_masking import (
    check_masked_models,
    check_random_step,
    check_straight_through,
)
from robustlib.exercises_museum import (
    check_kept_attempt,
    check_pull_back,
    check_step_in_pixels,
    check_step_of_epsilon,
    check_walk,
)
from robustlib.exercises_museum_evaluation import (
    check_evaluation_mode,
    check_gain,
    check_own_attack,
    check_survivors,
    check_worst_case,
)
from robustlib.exercises_threats import (
    check_l1_projection,
    check_normalised_units,
    check_success_matrix,
    check_universal_step,
)
from robustlib.exercises_training import (
    check_best_restart,
    check_honest_curve,
    check_mixed_gradients,
    check_mixed_training,
    check_pgd_l2,
    check_projection,
)

__all__ = [
    "check_best_restart",
    "check_checkpoints",
    "check_dlr",
    "check_evaluation_mode",
    "check_expected_calibration_error",
    "check_fast_gradient_l2",
    "check_gain",
    "check_honest_curve",
    "check_in_bytes",
    "check_kept_attempt",
    "check_l1_projection",
    "check_logit_gradient",
    "check_margin_after_repainting",
    "check_masked_models",
    "check_mean_pool_back",
    "check_mixed_gradients",
    "check_mixed_training",
    "check_normalised_units",
    "check_own_attack",
    "check_pgd_l2",
    "check_projection",
    "check_pull_back",
    "check_random_step",
    "check_robust_gradient",
    "check_robust_share",
    "check_smallest_epsilon",
    "check_stable_cross_entropy",
    "check_step_in_pixels",
    "check_step_of_epsilon",
    "check_straight_through",
    "check_success_matrix",
    "check_survivors",
    "check_targeted_fgsm",
    "check_temperature",
    "check_universal_step",
    "check_walk",
    "check_worst_case",
]
