"""The folder of the 573-week maps in 40 energy bins."""

import json

import healpy as hp
import numpy as np
import pytest

from gcesbi.errors import InputError
from gcesbi.io import read_mask, read_observation, read_template, templates_in, write_observation
from gcesbi.io.layouts import EBINS

COUNTS = "counts-fwhm000-0512-bestpsf-nopsc"
TEN = slice(10, 20)  # of the 40 bins, 2-20 GeV


def nested(ring):
    return hp.reorder(ring.astype(float), r2n=True)


def test_ten_bins_from_2_to_20_gev(ebins, ebin_maps):
    obs = read_observation(ebins)
    np.testing.assert_allclose(obs.energy_edges, np.geomspace(2, 20, 11))
    pixels = obs.region.pixels
    np.testing.assert_array_equal(obs.counts, nested(ebin_maps[COUNTS])[TEN][:, pixels])
    exposure = ebin_maps["exposure-fwhm000-0512-bestpsf-nopsc"]
    np.testing.assert_array_equal(obs.exposure, nested(exposure)[TEN][:, pixels])


@pytest.mark.parametrize(("wanted", "bins"), [((0.2, 2000), (0, 40)), ((1.0, 5.1), (7, 14)), ((1990, 2e4), None)])
def test_the_energy_range_is_a_choice(ebins, ebin_maps, wanted, bins):
    if bins is None:
        with pytest.raises(InputError, match=r"energy_range: must hold at least one of the bins from 0.2 to 2000 GeV"):
            read_observation(ebins, energy_range=wanted)
        return
    obs = read_observation(ebins, energy_range=wanted)
    assert obs.n_energy == bins[1] - bins[0]
    expected = nested(ebin_maps[COUNTS])[slice(*bins)][:, obs.region.pixels]
    np.testing.assert_array_equal(obs.counts, expected)
    np.testing.assert_array_equal(
        read_template(ebins, "Opi", energy_range=wanted),
        nested(ebin_maps["modelopibrem-ultracleanveto-bestpsf"])[slice(*bins)],
    )


@pytest.mark.parametrize("range_", [(2.0,), (1, 2, 3), 5.0])
def test_a_range_has_two_ends(ebins, range_):
    with pytest.raises(InputError, match=r"energy_range: must be \(low, high\) in GeV"):
        read_observation(ebins, energy_range=range_)


def test_masks_of_the_bins_that_are_read_are_joined(ebins, ebin_maps):
    masked = nested(ebin_maps["mask-fwhm000-0512-bestpsf-mask"])
    np.testing.assert_array_equal(read_mask(ebins, "3fgl"), masked[TEN].any(axis=0))
    np.testing.assert_array_equal(read_mask(ebins, "4fgl"), masked[TEN].any(axis=0))  # fractions count as masked
    np.testing.assert_array_equal(read_mask(ebins, "3fgl", (500, 2000)), masked[34:].any(axis=0))
    unmasked, seen = read_observation(ebins), read_observation(ebins, mask="3fgl")
    np.testing.assert_array_equal(
        seen.region.pixels, unmasked.region.pixels[~masked[TEN].any(0)[unmasked.region.pixels]]
    )


def test_templates_by_the_names_of_the_other_layout(ebins, ebin_maps):
    assert set(templates_in(ebins)) == {"Opi", "Oic", "Api", "Aic", "Fpi", "Fic", "dif", "psc_3fgl", "psc_4fgl"}
    assert all(templates_in(ebins).values())
    found = read_template(ebins, "Fic", nside=16)
    np.testing.assert_array_equal(found, nested(ebin_maps["ccwfics-ultracleanveto-bestpsf"])[TEN])
    with pytest.raises(InputError, match=r"template: must be one of those in .*ebins', \['Aic', 'Api', .*, got 'iso'"):
        read_template(ebins, "iso")


def test_no_file_of_the_public_list_is_forgotten(reference_folder):
    listed = json.loads((reference_folder / "fermi_573w_energies.json").read_text())["files"]
    public = {name.split("/")[-1].removesuffix(".npy") for name in listed if "ebin_128" in name}
    assert public == {EBINS.counts, EBINS.exposure, *EBINS.masks.values(), *EBINS.templates.values()}


def test_fits_maps_have_a_range_too(ebins, tmp_path):
    write_observation(tmp_path / "ten.fits", read_observation(ebins))
    part, own = read_observation(tmp_path / "ten.fits", energy_range=(5, 13)), read_observation(ebins, nside=16)
    np.testing.assert_allclose(part.energy_edges, own.energy_edges[4:9])
    np.testing.assert_array_equal(part.counts, own.counts[4:8])


def test_what_breaks_the_layout_is_named(ebins, ebin_maps):
    (ebins / "mask-fwhm000-0512-bestpsf-mask_4fgl_special.npy").unlink()
    with pytest.raises(InputError, match=r"mask: must be one of those in .*ebins', \['3fgl'\], got '4fgl'"):
        read_observation(ebins, mask="4fgl")
    np.save(ebins / "mask-fwhm000-0512-bestpsf-mask.npy", 2 * ebin_maps["mask-fwhm000-0512-bestpsf-mask"])
    with pytest.raises(InputError, match=r"bestpsf-mask.npy: must hold only 0 and 1"):
        read_observation(ebins, mask="3fgl")
    np.save(ebins / f"{COUNTS}.npy", ebin_maps[COUNTS][:3])
    with pytest.raises(InputError, match=rf"{COUNTS}.npy: energy_edges: must be 4 for 3 maps of counts"):
        read_observation(ebins)
    (ebins / "exposure-fwhm000-0512-bestpsf-nopsc.npy").unlink()
    with pytest.raises(InputError, match=r"must be an existing file or folder, got '.*exposure-fwhm000-0512-bestpsf"):
        read_observation(ebins)


def test_the_plain_layout_says_which_templates_lack_the_psf(data_folder):
    kinds = templates_in(data_folder / "fermi-573w")
    assert {name for name, applied in kinds.items() if not applied} == {
        "nfw_g1p0", "nfw_g1p2", "dsk_z0p3", "dsk_z1p0",
    }  # fmt: skip
    assert len(kinds) == 16
