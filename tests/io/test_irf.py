"""Instrument-response files: a synthetic one, and the real one where present."""

import numpy as np
import pytest
from astropy.io import fits

from gcesbi.errors import InputError
from gcesbi.io.irf import read_king_table
from gcesbi.physics.psf import PSF
from gcesbi.physics.psf_table import COS_THETA_WEIGHTS, P8R3_ULTRACLEANVETO_V3_PSF3, KingTable

NAMES = ("NCORE", "NTAIL", "SCORE", "STAIL", "GCORE", "GTAIL")
LOW, HIGH = np.array([1e3, 1e4]), np.array([1e4, 1e5])
WEIGHTS = (0.25, 0.0, 0.75)


def write_irf(path, missing=(), without_column=None):
    """A response with 2 energies and 3 bins of cos θ, values unlike in every cell."""
    rng = np.random.default_rng(1)
    values = {name: rng.uniform(0.3, 0.9, (3, 2)) for name in NAMES}
    values["GCORE"] += 2
    values["GTAIL"] += 3
    columns = [
        fits.Column("ENERG_LO", "2E", "MeV", array=LOW[None]),
        fits.Column("ENERG_HI", "2E", "MeV", array=HIGH[None]),
        fits.Column("CTHETA_LO", "3E", array=[[0.2, 0.5, 0.8]]),
        *(fits.Column(name, "6E", dim="(2, 3)", array=values[name][None]) for name in NAMES if name != without_column),
    ]
    hdus = [
        fits.BinTableHDU.from_columns(columns, name="RPSF_PSF3"),
        fits.BinTableHDU.from_columns(
            [fits.Column("PSFSCALE", "3E", array=[[0.05, 6e-4, -0.8]])], name="PSF_SCALING_PARAMS_PSF3"
        ),
    ]
    fits.HDUList([fits.PrimaryHDU(), *(hdu for hdu in hdus if hdu.name not in missing)]).writeto(path)
    return {name: np.float32(array).astype(float) for name, array in values.items()}


def test_table_is_the_weighted_mean_over_incidence(tmp_path):
    values = write_irf(tmp_path / "irf.fits")
    table = read_king_table(tmp_path / "irf.fits", "PSF3", WEIGHTS)
    np.testing.assert_allclose(table.energy, np.sqrt(LOW * HIGH) / 1e3, rtol=1e-6)
    np.testing.assert_allclose(table.scaling, (0.05, 6e-4, -0.8), rtol=1e-6)
    for row in range(2):
        first, last = ({name: values[name][k, row] for name in NAMES} for k in (0, 2))
        cores = [1 / (1 + cell["NTAIL"] * cell["STAIL"] ** 2 / cell["SCORE"] ** 2) for cell in (first, last)]
        assert table.f_core[row] == pytest.approx(0.25 * cores[0] + 0.75 * cores[1], rel=1e-12)
        for name, column in zip(NAMES[2:], (table.s_core, table.s_tail, table.g_core, table.g_tail), strict=True):
            assert column[row] == pytest.approx(0.25 * first[name] + 0.75 * last[name], rel=1e-12)


def test_psf_at_a_node_is_the_king_function_of_its_parameters(tmp_path):
    write_irf(tmp_path / "irf.fits")
    table = read_king_table(tmp_path / "irf.fits", "PSF3", WEIGHTS)
    energy = table.energy[0]
    scale = np.sqrt((0.05 * (energy / 0.1) ** -0.8) ** 2 + 6e-4**2)
    king = PSF.king(table.f_core[0], table.s_core[0], table.g_core[0], table.s_tail[0], table.g_tail[0], scale)
    psf = PSF.from_table(table, energy, energy)
    np.testing.assert_allclose(psf.density([0, 0.1, 1]), king.density([0, 0.1, 1]), rtol=1e-6)


@pytest.mark.parametrize(
    ("event_type", "irf", "message"),
    [
        ("PSF2", {}, r"irf.fits: must hold the table RPSF_PSF2, for one of the event types \['PSF3'\]"),
        ("PSF3", {"missing": "PSF_SCALING_PARAMS_PSF3"}, "irf.fits: must hold the table PSF_SCALING_PARAMS_PSF3"),
        ("PSF3", {"without_column": "GTAIL"}, "irf.fits: table RPSF_PSF3 must hold the column GTAIL"),
    ],
)
def test_missing_table_or_column(tmp_path, event_type, irf, message):
    write_irf(tmp_path / "irf.fits", **irf)
    with pytest.raises(InputError, match=message):
        read_king_table(tmp_path / "irf.fits", event_type, WEIGHTS)


def test_other_bad_input(tmp_path):
    path = tmp_path / "irf.fits"
    with pytest.raises(InputError, match=r"path: must be an existing file or folder, got '.*irf.fits'"):
        read_king_table(path, "PSF3")
    path.write_text("no table")
    with pytest.raises(InputError, match=r"irf.fits: must be a whole FITS file"):
        read_king_table(path, "PSF3")
    path.unlink()
    write_irf(path)
    with pytest.raises(InputError, match=r"cos_theta_weights: must be 3, the bins of cos θ in .*irf.fits, got 8"):
        read_king_table(path, "PSF3")
    with pytest.raises(InputError, match="cos_theta_weights: must not be negative"):
        read_king_table(path, "PSF3", (1, -1, 1))
    with pytest.raises(InputError, match=r"energy: must lie in \[3.162, 31.62\] GeV"):
        PSF.from_table(read_king_table(path, "PSF3", WEIGHTS), 2, 20)


@pytest.fixture
def real_irf(data_folder):
    return data_folder / "irf" / "psf_P8R3_ULTRACLEANVETO_V3_PSF.fits"


def test_built_in_table_is_the_real_average(real_irf):
    real = read_king_table(real_irf, "PSF3", COS_THETA_WEIGHTS)
    built_in = P8R3_ULTRACLEANVETO_V3_PSF3
    kept = (real.energy > 0.2) & (real.energy < 1400)
    for name in KingTable.columns():
        np.testing.assert_allclose(getattr(built_in, name), getattr(real, name)[kept], rtol=1e-6)
    np.testing.assert_allclose(built_in.scaling, real.scaling, rtol=1e-6)


def test_real_psf_of_a_bin_is_the_built_in_one(real_irf):
    radii = PSF.from_table(read_king_table(real_irf, "PSF3"), 2, 20).containment_radius([0.68, 0.95])
    np.testing.assert_allclose(radii, PSF.default(2, 20).containment_radius([0.68, 0.95]), rtol=1e-5)


@pytest.mark.parametrize(
    ("letters", "types"),
    [("PSF", ["PSF0", "PSF1", "PSF2", "PSF3"]), ("FB", ["BACK", "FRONT"]), ("EDISP", ["EDISP0", "EDISP3"])],
)
def test_every_event_type_is_read_and_better_classes_are_sharper(data_folder, letters, types):
    path = data_folder / "irf" / f"psf_P8R3_ULTRACLEANVETO_V3_{letters}.fits"
    tables = (read_king_table(path, event_type) for event_type in types)
    radii = [float(PSF.from_table(table, 2, 2).containment_radius(0.68)) for table in tables]
    assert radii == sorted(radii, reverse=True)
    assert 0.2 < radii[-1] < radii[0] < 1.2


def changed(path, table, column, change):
    """The synthetic response with one column changed."""
    write_irf(path)
    with fits.open(path) as tables:
        hdus = [hdu.copy() for hdu in tables]
    next(hdu for hdu in hdus if hdu.name == table).data[column] = change(
        next(hdu for hdu in hdus if hdu.name == table).data[column]
    )
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


@pytest.mark.parametrize(
    ("table", "column", "change", "message"),
    [
        ("RPSF_PSF3", "ENERG_LO", np.negative, "RPSF_PSF3: ENERG_LO must be above 0 and below ENERG_HI"),
        ("RPSF_PSF3", "ENERG_HI", lambda v: v * np.nan, "RPSF_PSF3: ENERG_LO must be above 0 and below ENERG_HI"),
        ("RPSF_PSF3", "SCORE", lambda v: v * np.inf, "s_core: must hold one finite number for every energy"),
        ("RPSF_PSF3", "GTAIL", lambda v: v * 0, "g_tail: must be above 1"),
        ("RPSF_PSF3", "NTAIL", np.negative, r"f_core: must lie in \[0, 1\]"),
        ("PSF_SCALING_PARAMS_PSF3", "PSFSCALE", np.negative, "PSFSCALE must hold 3 numbers, two of them not below 0"),
    ],
)
def test_broken_numbers_are_named(tmp_path, table, column, change, message):
    path = changed(tmp_path / "irf.fits", table, column, change)
    with pytest.raises(InputError, match=message):
        read_king_table(path, "PSF3", WEIGHTS)


def test_event_types_in_small_letters(tmp_path):
    write_irf(tmp_path / "irf.fits")
    table = read_king_table(tmp_path / "irf.fits", "psf3", WEIGHTS)
    np.testing.assert_array_equal(table.f_core, read_king_table(tmp_path / "irf.fits", "PSF3", WEIGHTS).f_core)
