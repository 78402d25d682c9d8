"""Catalogue files: fluxes against the catalogues' own, and clear errors for files that lack something."""

import numpy as np
import pytest
from astropy.io import fits

from gcesbi.errors import InputError
from gcesbi.io.catalog import read_catalogue


@pytest.mark.parametrize(("version", "number", "extended"), [(16, 3034, 25), (27, 5788, 75)])
def test_integrated_spectra_are_the_catalogues_own_fluxes(data_folder, version, number, extended):
    path = data_folder / "catalogs" / f"gll_psc_v{version}.fit.gz"
    sources = read_catalogue(path)
    with fits.open(path) as tables:
        told = tables["LAT_Point_Source_Catalog"].data["Flux1000"].astype(float)
    assert len(sources) == number
    ratio = sources.flux([1.0, 100.0])[:, 0] / told
    assert np.count_nonzero(np.abs(ratio - 1) > 0.006) <= 2  # two flagged 3FGL sources contradict themselves
    assert np.median(ratio) == pytest.approx(1.0, abs=1e-3)
    assert np.count_nonzero(sources.form != "point") == extended


def test_energy_flux_of_curved_spectra(data_folder):
    path = data_folder / "catalogs" / "gll_psc_v27.fit.gz"
    sources = read_catalogue(path)
    with fits.open(path) as tables:
        told = tables["LAT_Point_Source_Catalog"].data["Energy_Flux100"].astype(float) / 1.602176634e-3  # GeV
    energy = np.geomspace(0.1, 100, 801)
    carried = np.trapezoid(sources.spectrum(energy) * energy**2, np.log(energy), axis=1)
    assert np.quantile(np.abs(carried / told - 1), 0.99) < 0.01


def columns(**changes):
    text, number = ("18A", ["A", "B"]), ("E", [1.0, 2.0])
    values = dict.fromkeys(("GLON", "GLAT", "Pivot_Energy", "Flux_Density", "Spectral_Index"), number)
    values |= dict.fromkeys(("beta", "Cutoff", "Exp_Index"), number)
    values |= {
        "Source_Name": text,
        "Extended_Source_Name": ("18A", ["", ""]),
        "SpectrumType": ("16A", ["PowerLaw"] * 2),
    }
    return {name: value for name, value in (values | changes).items() if value is not None}


def write(path, table="LAT_Point_Source_Catalog", **changes):
    made = [fits.Column(name, form, array=array) for name, (form, array) in columns(**changes).items()]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(made, name=table)]).writeto(path)
    return path


def test_a_small_catalogue_is_read(tmp_path):
    sources = read_catalogue(write(tmp_path / "small.fits", GLON=("E", [359.0, 10.0])))
    np.testing.assert_allclose(sources.glon, [-1.0, 10.0])
    np.testing.assert_allclose(sources.norm, [1e3, 2e3])
    np.testing.assert_allclose(sources.pivot, [1e-3, 2e-3])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"table": "OTHER"}, "must hold the table LAT_Point_Source_Catalog, has"),
        ({"Pivot_Energy": None, "beta": None}, "must hold the columns Pivot_Energy, beta"),
        ({"SpectrumType": ("16A", ["PowerLaw", "Wiggle"])}, "SpectrumType must be one of .*, got 'Wiggle'"),
        ({"Extended_Source_Name": ("18A", ["", "Blob"])}, "must hold the table ExtendedSources, for 'Blob'"),
        ({"Flux_Density": ("E", [1.0, -2.0])}, "norm: must not be negative, is for B"),
    ],
)
def test_what_is_missing_is_named(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        read_catalogue(write(tmp_path / "bad.fits", **changes))


def test_files_that_are_none(tmp_path):
    with pytest.raises(InputError, match="path: must be an existing file"):
        read_catalogue(tmp_path / "none.fits")
    (tmp_path / "text.fits").write_text("no FITS file at all")
    with pytest.raises(InputError, match="must be a whole FITS file"):
        read_catalogue(tmp_path / "text.fits")
