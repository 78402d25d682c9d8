"""What a Poisson fit of a model's smooth templates leaves of a map: (k - μ) / √μ in every pixel.

In each energy bin by itself counts k are fitted by μ = Σ a_i b_i, with b an orthogonal basis of the space that the
templates span. Fisher scoring goes up the Poisson likelihood: least squares with weights 1/μ of the last step,

    Σ_j (Σ_p b_ip b_jp / μ_p) a_j = Σ_p b_ip k_p / μ_p,

from equal weights on. Norms may come out negative; where μ would fall below a hundredth of the bin's mean count, it is
that.
"""

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from gcesbi.errors import InputError

__all__ = ["poisson_means", "residuals", "spanning"]

_N_STEP = 6
_LEAST = 0.01  # of the bin's mean count
_RIDGE = 1e-6


def spanning(templates: ArrayLike) -> Tensor:
    """Orthogonal basis (n_template, n_energy, n_pix) of templates of that shape, of mean square 1 in every bin.

    Where templates depend on each other, as many rows as are too many are zero.

    Raises
    ------
    InputError
        If the templates have another number of axes.
    """
    values = np.asarray(templates, dtype=np.float64)
    if values.ndim != 3:
        raise InputError(f"templates: must have shape (n_template, n_energy, n_pix), got {values.shape}")
    each = values.transpose(1, 0, 2)
    each = each / np.maximum(np.linalg.norm(each, axis=2, keepdims=True), np.finfo(float).tiny)
    _, singular, rows = np.linalg.svd(each, full_matrices=False)
    kept = rows * (singular > 1e-6 * singular[:, :1])[..., None] * np.sqrt(values.shape[2])
    basis = np.zeros_like(values)
    basis[: kept.shape[1]] = kept.transpose(1, 0, 2)
    return torch.from_numpy(basis).float()


def poisson_means(counts: Tensor, basis: Tensor) -> Tensor:
    """Best-fit means (n, n_energy, n_pix) of counts of that shape by a basis (n_template, n_energy, n_pix)."""
    each = basis.transpose(0, 1)
    products = each[:, :, None] * each[:, None]  # (n_energy, n_template, n_template, n_pix)
    level = counts.mean(dim=2, keepdim=True).clamp_min(1 / counts.shape[2])
    mean = level.expand_as(counts)
    ridge = _RIDGE * torch.eye(each.shape[1], dtype=counts.dtype, device=counts.device)
    for _ in range(_N_STEP):
        weight = level / mean / counts.shape[2]
        normal = torch.einsum("nep,etsp->nets", weight, products) + ridge
        seen = torch.einsum("nep,etp->net", weight * counts, each)
        norms = torch.linalg.solve(normal, seen[..., None])[..., 0]
        mean = torch.maximum(torch.einsum("net,etp->nep", norms, each), _LEAST * level)
    return mean


def residuals(counts: Tensor, basis: Tensor) -> Tensor:
    """Residuals (n, n_channel, n_pix) of counts (n, n_energy, n_pix), one channel more for the sum of several bins."""
    with torch.autocast(counts.device.type, enabled=False):
        mean = poisson_means(counts, basis)
    if counts.shape[1] > 1:
        counts, mean = (torch.cat([each, each.sum(dim=1, keepdim=True)], dim=1) for each in (counts, mean))
    return (counts - mean) * torch.rsqrt(mean)
