"""Fig. S11: source counts on the real map with interstellar Models O and A."""

from paper.panels import side_by_side

NEEDS = ("real_o", "real_a")
CAPTION = (
    "Source counts of excess and disk on the real 573-week map, one energy bin, with interstellar Models O and A: "
    "networks trained on each, and the NPTF with each (median and 68 % band)."
)
draw = side_by_side("Model O", "Model A", energies="one", nptf="own")
