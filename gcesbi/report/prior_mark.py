"""The rule of every table: what a posterior repeats from its prior is not quoted without saying so."""

from numpy.typing import ArrayLike

from gcesbi.validation.sharpness import AS_WIDE, tells_the_prior

__all__ = ["PRIOR_MARK", "PRIOR_NOTE", "marked"]

PRIOR_MARK = " †"
PRIOR_NOTE = (
    f"† The interval is as wide as that of the model's prior, or nearly ({100 * AS_WIDE:.0f} % of it or more): it "
    "tells the prior, not the map."
)


def marked(told: str, interval: ArrayLike, prior: ArrayLike) -> str:
    """A cell of a table, with :data:`PRIOR_MARK` if its interval (low, high) is as wide as the prior's."""
    return f"{told}{PRIOR_MARK}" if tells_the_prior(interval, prior) else told
