"""Fig. S19: a prior that knows brighter sources alone."""

from paper.panels import side_by_side

NEEDS = ("real_o", "real_bright")
CAPTION = (
    "Source counts of excess and disk on the real 573-week map, one energy bin, Model O, with the nominal prior of "
    "the excess' location, ξ ≥ −13, and with ξ ≥ −12, that of List et al. (2021). NPTF: median and 68 % band, the "
    "same in both columns.\n\n"
    "Differs from the paper's figure: its networks see ten energy bins; the map at hand has one."
)
draw = side_by_side("ξ ≥ −13", "ξ ≥ −12", energies="one", nptf="first")
