"""Fig. S11: interstellar Models O and A: spectra and source counts on the real map."""

from paper.panels import side_by_side

NEEDS = ("real_o", "real_a")
CAPTION = (
    "The real 573-week map with interstellar Models O and A. Top: spectra E² dN/dE of all components, networks "
    "(median and 68 % band) and Poisson fit (points). Below: source counts of excess and disk, networks trained on "
    "each model, and the NPTF with each (median and 68 % band).\n\n"
    "Differs from the paper's figure: its networks see ten energy bins; the map at hand has one, so that a spectrum "
    "is one number."
)
draw = side_by_side("Model O", "Model A", energies="one", nptf="own", with_spectra=True)
