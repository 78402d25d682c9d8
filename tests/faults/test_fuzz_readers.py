"""Every reader on files that are cut, flipped or altered: it reads, or tells in one line which file breaks which rule.

Seeded, so that a failure names a case that fails again: `fuzz(kind, seed)`.
"""

import gzip
import os
import resource
import signal
from contextlib import contextmanager
from pathlib import Path

import healpy as hp
import numpy as np
import pytest
from astropy.io import fits

from gcesbi.errors import InputError
from gcesbi.io import (
    read_catalogue,
    read_exposure,
    read_intensity_cube,
    read_isotropic_spectrum,
    read_king_table,
    read_observation,
    read_psf_table,
    read_template,
    write_observation,
)
from gcesbi.io import reading as reading_module
from gcesbi.physics.psf import PSF
from gcesbi.sky import ImageGeometry, Observation, Region

NSIDE, EDGES = 8, np.array([2.0, 5.0, 20.0])
N_PIX = 12 * NSIDE**2
N_CASE = 40
MEMORY = 2**30
RNG = np.random.default_rng(22)
COUNTS, EXPOSURE = RNG.poisson(4.0, (2, N_PIX)), RNG.uniform(1e10, 2e10, (3, N_PIX))
CARDS = (b"-1", b"0", b"1", b"T", b"'X'", b"''", b"3.5", b"99999999999", b"1E400", b"NAN", b"'2D'", b"'PD(9)'", b"-1E9")


def columns(*made):
    return [fits.Column(name, form, unit, array=np.asarray(values)) for name, form, unit, values in made]


def table(name, made, **cards):
    hdu = fits.BinTableHDU.from_columns(columns(*made), name=name)
    hdu.header.update(cards)
    return hdu


def healpix(name, maps, **cards):
    made = [(f"CHANNEL{i}", "D", None, row) for i, row in enumerate(maps, 1)]
    return table(name, made, **{"PIXTYPE": "HEALPIX", "ORDERING": "RING", "COORDSYS": "GAL", "NSIDE": NSIDE} | cards)


def save(path, *hdus, first=None):
    fits.HDUList([fits.PrimaryHDU() if first is None else first, *hdus]).writeto(path, overwrite=True)
    return path


def energies():
    return table("ENERGIES", [("Energy", "D", "MeV", EDGES * 1e3)])


def ebounds():
    return table("EBOUNDS", [("E_MIN", "D", "keV", EDGES[:-1] * 1e6), ("E_MAX", "D", "keV", EDGES[1:] * 1e6)])


def image(shape, size):
    cards = {"CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR", "CRVAL1": 0.0, "CRVAL2": 0.0, "CDELT1": -size, "CDELT2": size}
    cards |= {"CRPIX1": (shape[2] + 1) / 2, "CRPIX2": (shape[1] + 1) / 2}
    return fits.PrimaryHDU(RNG.integers(1, 9, shape), fits.Header(list(cards.items())))


def psf(path):
    made = [("Energy", "D", None, [1e3, 4e3, 3e4]), ("Exposure", "D", None, [1e11, 2e11, 2e11])]
    made.append(("Psf", "3D", None, [[5.0, 1, 0], [9.0, 1, 0], [9.0, 2, 0]]))
    return save(path, table("PSF", made), table("THETA", [("Theta", "D", None, [0.0, 0.5, 2.0])]))


def catalogue(path, spectral):
    names = ("GLON", "GLAT", "Pivot_Energy", *spectral)
    made = [(name, "D", None, [1.0, 2.0]) for name in names]
    made += [("Source_Name", "18A", None, ["A", "B"]), ("Extended_Source_Name", "18A", None, ["", "Blob"])]
    made.append(("SpectrumType", "16A", None, ["PowerLaw", "LogParabola"]))
    extended = [("Source_Name", "18A", None, ["Blob"]), ("Model_Form", "9A", None, ["Disk"])]
    extended.append(("Model_SemiMajor", "E", None, [1.0]))
    return save(path, table("LAT_Point_Source_Catalog", made), table("ExtendedSources", extended))


def response(path):
    made = [(name, "2E", "MeV", [values]) for name, values in (("ENERG_LO", [1e3, 1e4]), ("ENERG_HI", [1e4, 1e5]))]
    names = ("NCORE", "NTAIL", "SCORE", "STAIL", "GCORE", "GTAIL")
    made += [(name, "6E", None, [RNG.uniform(1.5, 3, 6)]) for name in names]
    scaling = table("PSF_SCALING_PARAMS_PSF3", [("PSFSCALE", "3E", None, [[0.05, 6e-4, -0.8]])])
    return save(path, table("RPSF_PSF3", made), scaling)


def written_image(path):
    geometry = ImageGeometry((6, 8), 0.5)
    shape = (2, geometry.n_pix)
    functions = PSF.default(2.0, 5.0), PSF.default(5.0, 20.0)
    write_observation(path, Observation(np.ones(shape), np.full(shape, 1e11), EDGES, geometry.whole(), functions))
    return path


def folder(path):
    path.mkdir()
    np.save(path / "fermidata_exposure.npy", EXPOSURE[:1])
    np.save(path / "template_iso.npy", EXPOSURE[0])
    np.save(path / "fermidata_pscmask_3fgl.npy", (RNG.random(N_PIX) < 0.1).astype(int))
    np.save(path / "fermidata_counts.npy", COUNTS[:1].astype(float))
    return path / "fermidata_counts.npy"


def listing(path):
    np.save(path.with_name("c.npy"), COUNTS)
    np.save(path.with_name("e.npy"), EXPOSURE)
    text = 'order = "ring"\ncounts = "c.npy"\nexposure = "e.npy"\nenergy_edges = [2.0, 5.0, 20.0]\n'
    path.write_text(text)
    return path


def everything(tmp):
    """By kind: a good file, and how it is read."""
    with_exposure = [healpix("SKYMAP", COUNTS), healpix("HPXEXPOSURES", EXPOSURE), ebounds()]
    pixels = np.sort(RNG.choice(N_PIX, 300, replace=False))
    partial = [
        table(name, [("PIX", "J", None, pixels), ("CHANNEL1", "D", None, row[pixels])], PIXTYPE="HEALPIX", NSIDE=NSIDE)
        for name, row in (("SKYMAP", COUNTS[0]), ("EXPOSURE", EXPOSURE[0]))
    ]
    for hdu in partial:
        hdu.header.update({"ORDERING": "NESTED", "COORDSYS": "C", "INDXSCHM": "EXPLICIT"})
    counts_only = save(tmp / "counts.fits", healpix("SKYMAP", COUNTS), ebounds())
    cube = save(tmp / "cube.fits", ebounds(), first=image((2, 6, 8), 0.5))
    packed = tmp / "packed.fits.gz"
    packed.write_bytes(gzip.compress(save(tmp / "all.fits", *with_exposure).read_bytes(), 1, mtime=0))
    hp.write_map(tmp / "mask.fits", np.zeros(N_PIX), nest=True, coord="G", dtype=np.int32)
    iso = tmp / "iso.txt"
    iso.write_text("".join(f"{e:.6g} {e**-2.2:.6g} {e**-2.2 / 9:.6g}\n" for e in np.geomspace(30, 1e6, 30)))
    old = ("Flux_Density", "Spectral_Index", "beta", "Cutoff", "Exp_Index")
    new = ("PL_Flux_Density", "PL_Index", "LP_Flux_Density", "LP_Index", "LP_beta", "PLEC_Flux_Density")
    dr2, dr3 = (
        (*new, index, factor, "PLEC_Exp_Index")
        for index, factor in (("PLEC_Index", "PLEC_Expfactor"), ("PLEC_IndexS", "PLEC_ExpfactorS"))
    )
    good = folder(tmp / "folder")
    return {
        "healpix": (tmp / "all.fits", lambda path: read_observation(path, 60, None)),
        "packed": (packed, lambda path: read_observation(path, 60, None)),
        "partial": (
            save(tmp / "partial.fits", *partial),
            lambda path: read_observation(path, None, None, energy_edges=[2, 20]),
        ),
        "exposure": (
            save(tmp / "exposure.fits", healpix("HPXEXPOSURES", EXPOSURE), energies()),
            lambda path: read_observation(counts_only, 60, None, exposure=path),
        ),
        "car": (
            save(tmp / "car.fits", energies(), first=image((3, 18, 36), 10.0)),
            lambda path: read_observation(counts_only, 60, None, exposure=path),
        ),
        "car alone": (tmp / "car.fits", read_exposure),
        "cube": (cube, lambda path: read_observation(path, None, None, exposure=psf(tmp / "fixed.fits"))),
        "psf": (psf(tmp / "psf.fits"), lambda path: read_observation(cube, None, None, exposure=path)),
        "psf alone": (tmp / "psf.fits", read_psf_table),
        "image": (written_image(tmp / "image.fits"), lambda path: read_observation(path, None, None)),
        "mapcube": (
            save(tmp / "mapcube.fits", energies(), first=image((3, 19, 36), 10.0)),
            lambda path: read_intensity_cube(path).in_pixels(Region.disc(4), EDGES),
        ),
        "isotropic": (iso, lambda path: read_isotropic_spectrum(path).band(EDGES)),
        "3fgl": (catalogue(tmp / "3fgl.fits", old), lambda path: read_catalogue(path).flux(EDGES)),
        "dr2": (catalogue(tmp / "dr2.fits", dr2), lambda path: read_catalogue(path).flux(EDGES)),
        "dr3": (catalogue(tmp / "dr3.fits", dr3), lambda path: read_catalogue(path).flux(EDGES)),
        "irf": (response(tmp / "irf.fits"), lambda path: read_king_table(path, "PSF3", (1, 1, 1))),
        "counts.npy": (good, lambda path: read_observation(path.parent, 60, None, "3fgl")),
        "mask.npy": (
            good.with_name("fermidata_pscmask_3fgl.npy"),
            lambda path: read_observation(path.parent, 60, None, "3fgl"),
        ),
        "template.npy": (good.with_name("template_iso.npy"), lambda path: read_template(path.parent, "iso", NSIDE)),
        "mask": (tmp / "mask.fits", lambda path: read_observation(tmp / "all.fits", 60, None, path)),
        "listing": (listing(tmp / "list.toml"), lambda path: read_observation(path, 60, None)),
    }


# -- mutations ---------------------------------------------------------------------------------------------------------


def cut(raw, rng):
    return raw[: rng.integers(len(raw))]


def flipped(raw, rng):
    for _ in range(int(2 ** rng.integers(0, 8))):
        raw[rng.integers(len(raw))] ^= 1 << int(rng.integers(8))
    return raw


def header_value(raw, rng):
    """One card of a FITS header says something else."""
    cards = [at for at in range(0, len(raw), 80) if raw[at + 8 : at + 10] == b"= "]
    if not cards:
        return flipped(raw, rng)
    at = int(rng.choice(cards))
    raw[at + 10 : at + 80] = bytes(rng.choice(np.array(CARDS, dtype=object))).rjust(20).ljust(70)
    return raw


def header_gone(raw, rng):
    cards = [at for at in range(0, len(raw), 80) if raw[at + 8 : at + 10] == b"= "]
    if not cards:
        return cut(raw, rng)
    at = int(rng.choice(cards))
    raw[at : at + 80] = b"COMMENT".ljust(80)
    return raw


def overwritten(raw, rng):
    """A stretch of 0, 255, NaN, blanks or noise."""
    start, length = int(rng.integers(len(raw))), int(2 ** rng.integers(1, 12))
    fill = [b"\0", b"\xff", b"\x7f\xf8\0\0\0\0\0\0", b" ", rng.bytes(64), b"9"][rng.integers(6)]
    raw[start : start + length] = (fill * length)[: len(raw[start : start + length])]
    return raw


def doubled(raw, rng):
    start = int(rng.integers(len(raw)))
    return raw[:start] + raw[start : start + 2880] * 2 + raw[start + 2880 :]


def inner(raw, rng):
    """What a packed file holds is spoilt; an unpacked file is cut."""
    if raw[:2] != b"\x1f\x8b":
        return cut(raw, rng)
    change = [cut, flipped, header_value, header_gone, overwritten][rng.integers(5)]
    return bytearray(gzip.compress(bytes(change(bytearray(gzip.decompress(bytes(raw))), rng)), 1))


MUTATIONS = (cut, flipped, header_value, header_value, header_value, header_gone, overwritten, doubled, inner)


class TookTooLongError(BaseException):
    """Not an exception that a reader may catch."""


@contextmanager
def limits(seconds=20):
    """No more memory than `MEMORY` beyond what there is, and no longer than some seconds."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)

    def stop(*_):
        raise TookTooLongError

    before = signal.signal(signal.SIGALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, hard))
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def fuzz(kind, path, read, seed):
    """What is wrong with a case, or None. The file is put back."""
    original = path.read_bytes()
    rng = np.random.default_rng([seed, *kind.encode()])
    mutation = MUTATIONS[rng.integers(len(MUTATIONS))]
    path.write_bytes(bytes(mutation(bytearray(original), rng)))
    try:
        with limits():
            read(path)
    except InputError as error:
        return f"two lines: {error}" if "\n" in str(error) else None
    except (Exception, TookTooLongError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        path.write_bytes(original)
    return None


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return everything(tmp_path_factory.mktemp("fuzz"))


KINDS = (
    *("healpix", "packed", "partial", "exposure", "car", "car alone", "cube", "psf", "psf alone", "image", "mapcube"),
    *("isotropic", "3fgl", "dr2", "dr3", "irf", "counts.npy", "mask.npy", "template.npy", "mask", "listing"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_reader_reads_or_tells(files, kind, monkeypatch):
    path, read = files[kind]
    read(path)
    broken = tuple(each for each in reading_module._BROKEN if each is not MemoryError)
    monkeypatch.setattr(reading_module, "_BROKEN", broken)
    cases = int(os.environ.get("GCESBI_FUZZ", N_CASE))
    wrong = {seed: found for seed in range(cases) if (found := fuzz(kind, path, read, seed)) is not None}
    assert not wrong, f"{kind}: {wrong}"
