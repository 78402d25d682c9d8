"""Fig. S19: a prior that knows bright sources alone."""

from paper.panels import side_by_side

NEEDS = ("real_o", "real_bright")
CAPTION = (
    "Source counts of excess and disk on the real 573-week map, one energy bin, Model O, with the nominal prior of the "
    "excess' location, ξ ≥ -13, and with ξ ≥ -11.5. NPTF: median and 68 % band, the same in both columns."
)
draw = side_by_side("ξ ≥ −13", "ξ ≥ −11.5", energies="one", nptf="first")
