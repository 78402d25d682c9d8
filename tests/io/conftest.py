"""A replica of the 573-week maps in 40 energy bins: the true names, small synthetic arrays."""

import numpy as np
import pytest

N_EBIN = 40


@pytest.fixture(scope="session")
def ebin_maps():
    """Arrays of the layout by file name, RING, at nside 16."""
    rng = np.random.default_rng(40)
    n_pix = 12 * 16**2
    mask = (rng.random((N_EBIN, n_pix)) < np.linspace(0.2, 0.01, N_EBIN)[:, None]).astype(float)
    diffuse = [f"{model}{part}" for model in ("modelo", "ccwa", "ccwf") for part in ("pibrem", "ics")]
    templates = [*(f"{name}-ultracleanveto-bestpsf" for name in (*diffuse, "p6v11")), "psc-bestpsf-3fgl"]
    arrays = {name: rng.uniform(0.5, 2, (N_EBIN, n_pix)) for name in (*templates, "psc-bestpsf-4fgl")}
    arrays["counts-fwhm000-0512-bestpsf-nopsc"] = rng.poisson(2.0, (N_EBIN, n_pix)).astype(float)
    arrays["exposure-fwhm000-0512-bestpsf-nopsc"] = rng.uniform(8e10, 1e11, (N_EBIN, n_pix))
    arrays["mask-fwhm000-0512-bestpsf-mask"] = mask
    arrays["mask-fwhm000-0512-bestpsf-mask_4fgl_special"] = mask * rng.uniform(0.1, 1, mask.shape)
    return arrays


@pytest.fixture
def ebins(tmp_path, ebin_maps):
    """The folder of that layout."""
    folder = tmp_path / "ebins"
    folder.mkdir()
    for name, values in ebin_maps.items():
        np.save(folder / f"{name}.npy", values)
    return folder
