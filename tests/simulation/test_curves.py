import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gcesbi.simulation.piecewise_linear import Curves

FEW = settings(deadline=None, max_examples=30)


def _curves(seed=0, n_row=4, n_node=9):
    rng = np.random.default_rng(seed)
    first, step = (torch.from_numpy(rng.uniform(low, high, (n_row, 1))) for low, high in ((-3, 0), (0.1, 0.5)))
    values = torch.from_numpy(rng.uniform(0, 1, (n_row, n_node)) * (rng.uniform(size=(n_row, n_node)) > 0.2))
    return Curves.of(first, step, values)


def test_integrals_are_those_of_a_fine_sum():
    curves, x = _curves(), torch.linspace(-4, 5, 7, dtype=torch.float64)
    found = curves.below(x)
    for row in range(4):
        nodes = float(curves.first[row]) + float(curves.step[row]) * np.arange(9)
        for j, end in enumerate(x.tolist()):
            fine = np.linspace(nodes[0], max(end, nodes[0]), 200_001)
            expected = np.trapezoid(np.interp(fine, nodes, curves.values[row].numpy(), right=0.0), fine)
            assert abs(float(found[row, j]) - expected) < 1e-4


@FEW
@given(st.integers(0, 2**31), st.floats(0, 1, exclude_max=True))
def test_draws_invert_the_integral(seed, share):
    curves = _curves(seed)
    row = torch.arange(4)
    target = share * curves.total[:, -1]
    x = curves.draw(row, target)
    back = torch.stack([Curves(*(each[i : i + 1] for each in curves)).below(x[i : i + 1])[0, 0] for i in row])
    torch.testing.assert_close(back, target, atol=1e-12, rtol=1e-9)


def test_draws_follow_the_density():
    """Shares of 40,000 draws between nodes, against the integrals; 5 Monte Carlo errors."""
    curves, n = _curves(), 40_000
    u = torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    row = torch.full((n,), 2)
    x = curves.draw(row, u * curves.total[2, -1])
    place = ((x - curves.first[2]) / curves.step[2]).floor().long().clamp(0, 7)
    expected = curves.total[2].diff() / curves.total[2, -1]
    share = torch.bincount(place, minlength=8) / n
    assert ((share - expected).abs() <= 5 * torch.sqrt(expected * (1 - expected) / n) + 1e-9).all()
