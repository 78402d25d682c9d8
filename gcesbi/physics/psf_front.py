"""The point-spread function of front-converting events, P8R3_ULTRACLEANVETO_V3, as a built-in table.

Events that convert in the thin foils of the tracker's front; about half of all. Averaged over cos θ as
:data:`gcesbi.physics.psf_table.P8R3_ULTRACLEANVETO_V3_PSF3` is. Its 68 % containment is 0.30° for E⁻² photons of
1-6 GeV, and its tail is broad: 99.9 % within 3.6°.
"""

from gcesbi.physics.psf_table import KingTable

__all__ = ["FRONT_TO_PSF3", "P8R3_ULTRACLEANVETO_V3_FRONT"]

FRONT_TO_PSF3 = 2.0
"""Exposure to front-converting events, in units of that to the best quartile: a half of all events over a quarter."""

P8R3_ULTRACLEANVETO_V3_FRONT = KingTable.from_rows(
    [
        (0.2371374, 0.7016641, 0.3205096, 2.747726, 0.6915759, 2.970764),
        (0.4216965, 0.7878802, 0.3022757, 2.590671, 0.8155389, 3.025251),
        (0.7498942, 0.79801, 0.3006871, 2.996535, 0.9001474, 2.983369),
        (1.333521, 0.7795726, 0.3259912, 4.051697, 0.9267507, 2.76931),
        (2.371374, 0.8311995, 0.346185, 3.722527, 1.027369, 2.533764),
        (4.216965, 0.8453988, 0.3644731, 3.75074, 1.1149, 2.479394),
        (7.498942, 0.8137824, 0.3669174, 4.022787, 1.014449, 2.335722),
        (13.33521, 0.8187024, 0.3382731, 3.4846, 1.040055, 2.284064),
        (23.71374, 0.8244362, 0.2892978, 2.834671, 1.145854, 2.387152),
        (42.16965, 0.75519, 0.245138, 2.599089, 1.016424, 2.380707),
        (74.98942, 0.6450197, 0.2262452, 2.753835, 0.9341148, 2.465831),
        (133.3521, 0.5797414, 0.2141716, 2.638008, 0.973344, 2.640835),
    ],
    scaling=(6.38e-2, 1.26e-3, -0.8),
)
"""Front-converting events, at the geometric mean of the instrument response's own energy bins."""
