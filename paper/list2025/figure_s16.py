"""Fig. S16: one map by three networks: ten energy bins, their sum, and one bin from the start."""

from paper.panels import side_by_side

NEEDS = ("ten", "summed", "one_bin")
CAPTION = (
    "Source counts of excess and disk on one map by three networks: one that sees ten energy bins as channels, one "
    "that sees the sum of the ten bins of the same maps as one channel, and one trained on maps that were drawn in "
    "one bin, with one point-spread function. Dashed: the sources that were drawn, of a mock.\n\n"
    "Differs from the paper's figure: where no real map of several bins is at hand, a mock sky of its composition is "
    "looked at."
)
draw = side_by_side("ten channels", "one channel", "one bin", energies=None)
