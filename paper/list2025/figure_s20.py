"""Fig. S20: an excess of two populations and of one."""

from paper.panels import side_by_side

NEEDS = ("real_o", "real_single")
CAPTION = (
    "Source counts of excess and disk on the real 573-week map, one energy bin, Model O, where the prior lets the "
    "excess be two populations, and where it is one. NPTF: median and 68 % band, the same in both columns.\n\n"
    "Differs from the paper's figure: its networks see ten energy bins; the map at hand has one."
)
draw = side_by_side("two populations", "one population", energies="one", nptf="first")
