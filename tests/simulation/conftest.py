import pytest

from gcesbi import Simulator, SkyModel


@pytest.fixture(scope="session")
def model():
    return SkyModel.preset("inner-galaxy", nside=16, n_energy=2)


@pytest.fixture(scope="session")
def simulator(model):
    return Simulator(model)
