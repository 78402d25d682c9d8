"""Fig. S18: networks that were trained on jittered spectra."""

from paper.panels import side_by_side

NEEDS = ("ten", "jitter")
CAPTION = (
    "Source counts of excess and disk on one mock map, by the nominal networks (left) and by networks trained on "
    "maps whose spectra scatter by 50 % in every energy bin about the skew normals (right). Dashed: the sources "
    "that were drawn."
)
draw = side_by_side("nominal", "jittered spectra", energies="several")
