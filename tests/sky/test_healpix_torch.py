import healpy as hp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gcesbi.sky.healpix import position_in as compiled_position
from gcesbi.sky.healpix_torch import displace, pixel_of, position_in

FEW = settings(deadline=None, max_examples=30)
RNG = np.random.default_rng(3)


def _sphere(n=20_000):
    return torch.from_numpy(RNG.uniform(-1, 1, n)), torch.from_numpy(RNG.uniform(-10, 10, n))


@pytest.mark.parametrize("nside", [1, 2, 16, 256, 1024])
def test_pixels_are_healpys(nside):
    z, phi = _sphere()
    expected = hp.ang2pix(nside, np.arccos(z.numpy()), phi.numpy(), nest=True)
    found = pixel_of(nside, z, phi).numpy()
    assert np.mean(found != expected) < 1e-4  # healpy's own arc cosine moves points on borders


@pytest.mark.parametrize("nside", [16, 256])
def test_single_precision_moves_few_photons_to_a_neighbour(nside):
    """Rounding is 10⁻⁷ of a radian, pixels are 0.004 wide at nside 256: at most 10⁻³ of the photons change pixel."""
    z, phi = _sphere()
    assert (pixel_of(nside, z.float(), phi.float()) != pixel_of(nside, z, phi)).double().mean() < 1e-3


@FEW
@given(st.integers(0, 11), st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_positions_are_those_of_the_compiled_function(face, x, y):
    z, phi = position_in(torch.tensor([face]), *(torch.tensor([v], dtype=torch.float64) for v in (x, y)))
    expected = compiled_position(face, x, y)
    np.testing.assert_allclose(
        hp.dir2vec(np.arccos(float(z)), float(phi)), hp.dir2vec(np.arccos(expected[0]), expected[1]), atol=1e-9
    )


def test_positions_lie_in_their_pixel():
    nside, pixels = 16, torch.arange(12 * 256)
    z, phi = hp.pix2ang(nside, pixels.numpy(), nest=True)
    face = pixels // nside**2
    assert torch.equal(pixel_of(nside, torch.from_numpy(np.cos(z)), torch.from_numpy(phi)), pixels)
    x, y = torch.rand(2, len(pixels), dtype=torch.float64)
    found = pixel_of(1, *position_in(face, x, y))
    assert torch.equal(found, face)


def test_displacements_have_length_and_direction():
    """Against vectors: the new direction is cos θ n + sin θ (cos α north + sin α east)."""
    z, phi = _sphere(500)
    theta, angle = torch.from_numpy(RNG.uniform(0, 3, 500)), torch.from_numpy(RNG.uniform(0, 2 * np.pi, 500))
    s = torch.sqrt(1 - z * z)
    towards = torch.stack([s * torch.cos(phi), s * torch.sin(phi), z])
    north = torch.stack([-z * torch.cos(phi), -z * torch.sin(phi), s])
    east = torch.stack([-torch.sin(phi), torch.cos(phi), torch.zeros_like(phi)])
    expected = torch.cos(theta) * towards + torch.sin(theta) * (torch.cos(angle) * north + torch.sin(angle) * east)
    new_z, new_phi = displace(z, phi, 2 * torch.sin(theta / 2) ** 2, angle)
    new_s = torch.sqrt(1 - new_z**2)
    found = torch.stack([new_s * torch.cos(new_phi), new_s * torch.sin(new_phi), new_z])
    torch.testing.assert_close(found, expected, atol=1e-7, rtol=0)
