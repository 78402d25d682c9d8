"""Fig. S16: the same map with energies and without."""

from paper.panels import side_by_side

NEEDS = ("ten", "summed")
CAPTION = (
    "Source counts of excess and disk on one mock map, by networks that see ten energy bins (left) and by their "
    "twins that see the sum (right). Dashed: the sources that were drawn."
)
draw = side_by_side("with energies", "without", energies="several")
