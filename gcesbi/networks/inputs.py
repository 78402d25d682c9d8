"""What a network sees of a map: stabilised contrasts of the exposure-corrected counts, and totals.

Counts k of a pixel become x = k ⟨ε⟩ / ε, with ε the exposure and ⟨ε⟩ its mean over the region in the same energy bin.
The square root makes Poisson noise even (Anscombe 1948, Biometrika 35, 246), the map's own mean m is taken off,

    r = √(x + 3/8) − √(m + 3/8),      z = (r − r̄) / σ,      s = z / √(1 + |z| / 4),

with r̄ the mean of a pixel and σ the spread of a channel over training maps, and the last step tames rare bright pixels
(10⁵ photons of one source). One channel per energy bin, and one for their sum where there are several. These relative
channels forget how bright the map is, so standardised log totals per channel are handed on beside them.

The channels may be relative counts in place of contrasts, r = x / m, and what is handed on beside them is chosen too:
log totals, totals, log totals with the log of the counts' scatter over pixels, or nothing. As many channels again may
be residuals of the counts after a Poisson fit of the model's templates (:mod:`gcesbi.networks.residuals`).

The *summed* input is the energy-independent twin: counts of all bins are added up before anything else, and divided by
the mean of their exposures, so that of the energies nothing is left.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from gcesbi.errors import InputError
from gcesbi.networks.residuals import residuals, spanning

__all__ = ["CHANNELS", "ENERGIES", "TOTALS", "CountsInput", "MapEmbedding", "check_words"]

ENERGIES = ("resolved", "summed")
CHANNELS = ("contrast", "relative")
TOTALS = ("log", "counts", "scatter", "none")


class CountsInput(nn.Module):
    """Counts (n, n_energy, n_pix) to channels (n, n_channel, n_pix) and totals (n, n_channel).

    Parameters
    ----------
    exposure : array (n_energy, n_pix), cm² s
        Positive in every pixel.
    energy : {"resolved", "summed"}
        "resolved" has a channel for every energy bin, and one for their sum; "summed" has one for the sum alone.
    channels : {"contrast", "relative"}
        Stabilised contrasts, or counts in terms of the map's mean.
    totals : {"log", "counts", "scatter", "none"}
        What tells how bright a map is: log totals, totals, log totals and the log of the scatter over pixels, nothing.
    residuals : bool
        Show residuals of a Poisson fit behind the other channels; :meth:`fit_templates` says of what.

    Raises
    ------
    InputError
        If a word is none of those.
    """

    correction: Tensor
    pixel_mean: Tensor
    channel_std: Tensor
    total_mean: Tensor
    total_std: Tensor
    basis: Tensor

    def __init__(
        self,
        exposure: ArrayLike,
        energy: str = "resolved",
        channels: str = "contrast",
        totals: str = "log",
        residuals: bool = False,
    ) -> None:
        super().__init__()
        check_words(energy, channels, totals)
        exposure = torch.from_numpy(np.array(exposure, dtype=np.float64))
        self.summed = energy == "summed"
        exposure = exposure.mean(dim=0, keepdim=True) if self.summed else exposure
        self.n_energy = len(exposure)
        n_seen = self.n_energy + (self.n_energy > 1)
        self.n_channel = n_seen * (1 + residuals)
        self.relative, self.totals, self.residuals = channels == "relative", totals, residuals
        self.n_total = {"scatter": 2, "none": 0}.get(totals, 1) * n_seen
        self.register_buffer("correction", (exposure.mean(dim=1, keepdim=True) / exposure).float(), persistent=False)
        self.register_buffer("pixel_mean", torch.zeros(self.n_channel, exposure.shape[1]))
        self.register_buffer("channel_std", torch.ones(self.n_channel, 1))
        self.register_buffer("total_mean", torch.zeros(self.n_total))
        self.register_buffer("total_std", torch.ones(self.n_total))
        if residuals:
            self.register_buffer("basis", torch.zeros(0, *exposure.shape))

    def fit_templates(self, templates: ArrayLike) -> None:
        """Fit these for the residuals: expected counts (n_template, n_energy, n_pix); without them nothing is seen."""
        templates = np.asarray(templates, dtype=np.float64)
        self.basis = spanning(templates.sum(axis=1, keepdims=True) if self.summed else templates)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Take the stored basis, of however many templates."""
        if self.residuals and f"{prefix}basis" in state_dict:
            self.basis = torch.zeros_like(state_dict[f"{prefix}basis"], dtype=torch.float32)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def contrast(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Contrasts r (n, n_channel, n_pix) and totals (n, n_total), before they are standardised."""
        counts = counts.float()
        counts = counts.sum(dim=1, keepdim=True) if self.summed else counts
        seen, total = self._contrast(counts * self.correction)
        if self.residuals:
            if not len(self.basis):
                raise InputError("residuals: the network has no templates to fit; make it by for_model")
            seen = torch.cat([seen, residuals(counts, self.basis)], dim=1)
        return seen, total

    def _contrast(self, flux: Tensor) -> tuple[Tensor, Tensor]:
        if self.n_energy > 1:
            flux = torch.cat([flux, flux.sum(dim=1, keepdim=True)], dim=1)
        mean = flux.mean(dim=2, keepdim=True)
        if self.relative:
            return flux / mean.clamp_min(1 / flux.shape[2]), self._total(flux)
        return torch.sqrt(flux + 0.375) - torch.sqrt(mean + 0.375), self._total(flux)

    def _total(self, flux: Tensor) -> Tensor:
        """What tells how bright counts (n, n_channel, n_pix) are, (n, n_total)."""
        total = flux.sum(dim=2)
        if self.totals == "none":
            return total[:, :0]
        if self.totals == "counts":
            return total
        seen = [torch.log1p(total)]
        seen += [torch.log1p(flux.std(dim=2, correction=0))] if self.totals == "scatter" else []
        return torch.cat(seen, dim=1)

    @torch.no_grad()
    def standardise(self, counts: Tensor) -> None:
        """Set means and spreads from training maps (n, n_energy, n_pix)."""
        contrast, total = self.contrast(counts)
        self.pixel_mean.copy_(contrast.mean(dim=0))
        self.channel_std.copy_((contrast - self.pixel_mean).square().mean(dim=(0, 2)).sqrt().clamp_min(1e-3)[:, None])
        self.total_mean.copy_(total.mean(dim=0))
        self.total_std.copy_(total.std(dim=0, correction=0).clamp_min(1e-3))

    def forward(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Channels s (n, n_channel, n_pix) and standardised totals (n, n_total)."""
        contrast, total = self.contrast(counts)
        deviation = (contrast - self.pixel_mean) / self.channel_std
        tamed = deviation * torch.rsqrt(1 + 0.25 * deviation.abs())
        return tamed, (total - self.total_mean) / self.total_std


def check_words(energy: str, channels: str, totals: str) -> None:
    """Raise InputError unless all three are known to :class:`CountsInput`."""
    told = {"energy": (energy, ENERGIES), "channels": (channels, CHANNELS), "totals": (totals, TOTALS)}
    for name, (word, known) in told.items():
        if word not in known:
            raise InputError(f"{name}: must be one of {', '.join(known)}, got {word!r}")


class MapEmbedding(nn.Module):
    """Counts (n, n_energy, n_pix) to features (n, n_features): input, encoder, dense layer that sees the totals.

    Any module that maps (n, n_channel, n_pix) to (n, n_seen) may be the encoder. Fit for sbi's `embedding_net`.

    Parameters
    ----------
    inputs : CountsInput
    encoder : FaceEncoder, ChebyshevEncoder, ...
    n_features : int
        Features that this module returns.
    dropout : float
        Share of the encoder's features that is set to zero, at random, in training.
    n_seen : int, optional
        Features that the encoder returns; as many by default.
    """

    def __init__(
        self,
        inputs: CountsInput,
        encoder: nn.Module,
        n_features: int,
        dropout: float = 0.0,
        n_seen: int | None = None,
    ) -> None:
        super().__init__()
        self.inputs = inputs
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Sequential(nn.Linear((n_seen or n_features) + inputs.n_total, n_features), nn.ReLU())

    def forward(self, counts: Tensor) -> Tensor:
        """Features (n, n_features) of counts (n, n_energy, n_pix)."""
        channels, total = self.inputs(counts)
        features = self.dropout(self.encoder(channels))
        return self.dense(torch.cat([features, total.to(features.dtype)], dim=1))
