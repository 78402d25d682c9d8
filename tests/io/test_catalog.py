"""Catalogue files: fluxes against the catalogues' own, and clear errors for files that lack something."""

import numpy as np
import pytest
from astropy.io import fits
from mpmath import mp

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


def in_new_columns(path, out, source="gll_psc_v27.fit.gz"):
    """DR2 in the columns of DR3: the local index and curvature at the pivot energy of the same curves."""
    with fits.open(path / "catalogs" / source) as tables:
        old = tables["LAT_Point_Source_Catalog"]
        data = old.data
        b, a, pivot = (data[n].astype(float) for n in ("PLEC_Exp_Index", "PLEC_Expfactor", "Pivot_Energy"))
        curvature = a * b**2 * pivot**b
        values = {"PLEC_IndexS": data["PLEC_Index"] + curvature / b, "PLEC_ExpfactorS": curvature}
        kept = [column for column in old.columns if column.name not in ("PLEC_Index", "PLEC_Expfactor")]
        new = [fits.Column(name, "D", array=np.asarray(each, float)) for name, each in values.items()]
        table = fits.BinTableHDU.from_columns(fits.ColDefs([*kept, *new]), name=old.name)
        fits.HDUList([fits.PrimaryHDU(), table, tables["ExtendedSources"]]).writeto(out)
    return out


def test_cutoffs_of_dr3_are_those_of_dr2_told_otherwise(data_folder, tmp_path):
    told = read_catalogue(data_folder / "catalogs" / "gll_psc_v27.fit.gz")
    again = read_catalogue(in_new_columns(data_folder, tmp_path / "dr3.fits"))
    assert len(again) == 5788
    assert np.count_nonzero(told.cutoff) > 200
    np.testing.assert_allclose(again.flux([0.1, 1.0, 10.0, 100.0]), told.flux([0.1, 1.0, 10.0, 100.0]), rtol=1e-7)


@pytest.mark.parametrize("power", [0.6667, 0.2, 1e-3, 1e-7, 0.0, -0.3])
@pytest.mark.parametrize("kind", ["PLSuperExpCutoff", "PLSuperExpCutoff4"])
def test_the_law_of_dr3_as_published(tmp_path, power, kind):
    """Abdollahi et al. 2022, equations 2 to 4, in 50 digits."""
    names = ("GLON", "GLAT", "PL_Flux_Density", "PL_Index", "LP_Flux_Density", "LP_Index", "LP_beta")
    made = [fits.Column(name, "D", array=[1.0]) for name in names]
    numbers = {"Pivot_Energy": 2000.0, "PLEC_Flux_Density": 3e-13, "PLEC_IndexS": 2.1, "PLEC_ExpfactorS": 0.5}
    made += [fits.Column(name, "D", array=[value]) for name, value in (numbers | {"PLEC_Exp_Index": power}).items()]
    texts = {"Source_Name": "A", "SpectrumType": kind, "Extended_Source_Name": ""}
    made += [fits.Column(name, "18A", array=[text]) for name, text in texts.items()]
    table = fits.BinTableHDU.from_columns(made, name="LAT_Point_Source_Catalog")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "one.fits")
    got = read_catalogue(tmp_path / "one.fits").spectrum([0.3, 2.0, 20.0])[0]
    with mp.workdps(50):
        index, d, b = mp.mpf("2.1"), mp.mpf("0.5"), mp.mpf(power)
        for energy, value in zip((300, 2000, 20000), got, strict=True):
            x = mp.mpf(energy) / 2000
            curved = d / 2 * mp.log(x) if b == 0 else d / b**2 * ((x**b - 1) / mp.log(x) - b) if x != 1 else 0
            assert value == pytest.approx(float(3e-10 * x ** -(index + curved)), rel=3e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"GLAT": ("E", [1.0, 95.0])}, r"glat: must lie in \[-90, 90\] degrees, does not for B"),
        ({"GLON": ("8A", ["x", "y"])}, "column GLON of table .* must hold a number"),
        ({"SpectrumType": ("E", [1.0, 2.0])}, "column SpectrumType of table .* must hold a text"),
        (
            {"Pivot_Energy": ("2E", [[1.0, 2.0]] * 2)},
            "column Pivot_Energy of table .* must hold a number for every source",
        ),
        ({"Spectral_Index": ("E", [np.nan, 2.0])}, "index: must be finite, is not for A"),
    ],
)
def test_columns_of_another_kind_are_named(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        read_catalogue(write(tmp_path / "bad.fits", **changes))
