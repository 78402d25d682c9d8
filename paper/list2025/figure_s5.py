"""Fig. S5: source counts of the excess on held-out maps: nine examples, coverage and sharpness."""

from functools import partial

from paper.panels import example_source_counts

NEEDS = ("ten",)
CAPTION = (
    "Source counts of the excess on held-out maps of the prior, energy-dependent networks. Upper three rows: the "
    "first nine held-out maps, not chosen, with the sources that were drawn (dashed). Below: coverage, the share of "
    "true CDF values inside the central interval of level α, over pairs of map and flux bin whose CDF is neither 0 "
    "nor 1 (shaded: 95 % band that finitely many maps leave; pointwise in bins, not of whole curves); width of the "
    "central 95 % interval of every CDF value; the same averaged over the flux bins of a map. Narrower is better, if "
    "calibrated.\n\n"
    "Differs from the paper's figure: other maps, and nside and training of this scale."
)
draw = partial(example_source_counts, source="gce")
