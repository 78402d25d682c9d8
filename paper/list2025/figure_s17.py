"""Fig. S17: the same sky observed for 567 and for 812 weeks."""

from paper.panels import side_by_side

NEEDS = ("weeks_567", "weeks_812")
CAPTION = (
    "Source counts of excess and disk on mock maps of one composition observed for 567 and for 812 weeks, each by "
    "energy-dependent networks trained at its exposure. The sources of the two maps are drawn independently "
    "(dashed). The flux of one photon (dotted) falls with exposure."
)
draw = side_by_side("567 weeks", "812 weeks", energies="several")
