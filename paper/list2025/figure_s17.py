"""Fig. S17: the same sky observed for 567 and for 812 weeks."""

from paper.panels import side_by_side

NEEDS = ("weeks_567", "weeks_812")
CAPTION = (
    "Spectra (top) and source counts of excess and disk on one mock map of 812 weeks, and on the photons of its "
    "first 567, each by energy-dependent networks trained at its exposure. The 567 weeks are the map of 812 whose "
    "photons are each kept with probability 567/812: the same sky and sources (dashed), and data within data. The "
    "flux of one photon (dotted) falls with exposure.\n\n"
    "Differs from the paper's figure: a mock sky of its composition; real maps of 812 weeks are not at hand."
)
draw = side_by_side("567 weeks", "812 weeks", energies="several", with_spectra=True)
