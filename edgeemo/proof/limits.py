"""The limits of the acceptance gate: what an artifact may lose against the float model.

They were set before anything was measured; no flag loosens them. The gate on the workstation
(export/prove/gate.py) judges by them, and `doctor` judges a report by them again. Shares are 0..1.
"""

from collections.abc import Mapping

MAX_DROP_UPPER_BOUND = "max_drop_upper_bound"

LIMITS: Mapping[str, float] = {
    # One-sided 95 % bound of the paired top-1 drop stays below 1 pp.
    MAX_DROP_UPPER_BOUND: 0.01,
    "min_agreement": 0.97,
    "max_macro_f1_drop": 0.015,
    # A class fails only when its drop is surely above 3 pp: disgust has 55 test faces.
    "max_recall_drop_lower_bound": 0.03,
    "max_ece_rise": 0.02,
    "max_mean_kl": 0.02,  # nats, float || int8
    # The float model itself must be far above always answering the most frequent class.
    "min_float_over_majority": 0.20,
    # An int8 model that answers one class more often than this is stuck.
    "max_share_of_one_class": 0.80,
}
"""By the names that a report gives them."""


def within(name: str, value: float, limits: Mapping[str, float] = LIMITS) -> bool:
    """Whether a measured value keeps the limit `name`; NaN keeps none."""
    limit = limits[name]
    if name == MAX_DROP_UPPER_BOUND:
        return bool(value < limit)
    return bool(value >= limit if name.startswith("min_") else value <= limit)
