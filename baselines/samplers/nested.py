r"""Nested sampling with nautilus: evidence and posterior by importance sampling within nested bounds.

nautilus (Lange 2023, arXiv:2306.16923) fills ever higher iso-likelihood shells, bounded by ellipsoids and neural
networks, and weighs all points by the shells' volumes. Points of the exploration, which chose the bounds, are dropped
at the end, so that evidence and posterior are unbiased; its error is that of importance sampling, 1 / √N_eff in ln Z.

A checkpoint is HDF5 with its checksum behind it, written beside the last one and renamed, so that a kill at any moment
leaves a whole file. HDF5 itself works in memory alone: on a full disk it ends the process, and some file systems know
none of its locks.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from gcesbi.baselines.samplers.ellipsoid import fast_ellipsoids
from gcesbi.baselines.samplers.sampling import Diagnosis
from gcesbi.baselines.samplers.target import Limits, Sampled, Target
from gcesbi.errors import InputError
from gcesbi.io.files import naming, reason, sealed, unsealed, write_bytes

if TYPE_CHECKING:
    import nautilus

__all__ = ["NestedConvergence", "NestedSampling"]

FloatArray = NDArray[np.float64]

_NETWORK: dict[str, Any] = {"hidden_layer_sizes": (50, 20), "n_iter_no_change": 5, "tol": 1e-5}


@dataclass(frozen=True)
class NestedConvergence(Diagnosis):
    """How far a nested sampling run came.

    Attributes
    ----------
    explored : bool
        Whether the bounds reached the top: less than 1 % of the evidence was left above.
    n_eff, wanted : float
        Effective number of posterior points, and the number asked for.
    exploration_kept : bool
        Whether points that chose the bounds are among the samples: a slight bias.
    """

    explored: bool
    n_eff: float
    wanted: float
    exploration_kept: bool

    @property
    def problems(self) -> tuple[str, ...]:
        """What speaks against convergence: time that ran out, too few effective points."""
        found = []
        if not self.explored:
            found.append("time ran out before the bounds reached the peak: ln Z and posterior are those of its foot")
        if not self.n_eff >= min(self.wanted, 200):
            found.append(f"effective sample size is {self.n_eff:.0f}, below {min(self.wanted, 200):.0f}")
        elif self.explored and self.n_eff < self.wanted:
            found.append(f"time ran out at an effective sample size of {self.n_eff:.0f}, {self.wanted:.0f} were wanted")
        return tuple(found)


@dataclass(frozen=True, kw_only=True)
class NestedSampling:
    """Settings of nautilus.

    Parameters
    ----------
    n_live : int
        Live points, above which the next bound is drawn: more find more modes.
    n_update : int
        Points evaluated between two bounds, never fewer than `n_live`. A bound takes nautilus as long as some 1,000
        evaluations: few bounds of many points are cheaper than many bounds of few.
    n_eff : int
        Effective posterior points wanted.
    n_networks : int
        Networks of each bound; 0 for ellipsoids alone.
    batch : int
        Points evaluated at once.
    slice_size : int
        Evaluations between two checkpoints.
    """

    n_live: int = 200
    n_update: int = 1200
    n_eff: int = 4000
    n_networks: int = 1
    batch: int = 128
    slice_size: int = 5000

    def __post_init__(self) -> None:
        least = {"n_live": 20, "n_update": 20, "n_eff": 20, "n_networks": 0, "batch": 1, "slice_size": 1}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise InputError(f"{name}: must be at least {value}, got {getattr(self, name)}")

    def sample(self, target: Target, seed: int, limits: Limits | None = None) -> Sampled:
        """Draw from the posterior; ln Z with its error."""
        limits = limits or Limits()
        path, identity, stored = limits.checkpoint, "", None
        if path is not None:
            identity = target.identity(self, seed)
            stored = _stored(path, identity)
        sampler = self._sampler(target, seed, path, stored)
        finished = False
        with tqdm(disable=not limits.progress, desc="nested sampling", unit=" evaluations") as bar:
            while not finished and (limits.left > 0 or sampler.n_like == 0):
                in_time = limits.left > 0  # one batch is evaluated even so
                with fast_ellipsoids(), _libraries_found_once(), warnings.catch_warnings():
                    warnings.filterwarnings("ignore", "Got `batch_size` less than 1 or larger")  # it is clipped
                    finished = sampler.run(
                        n_eff=self.n_eff,
                        n_like_max=sampler.n_like + (self.slice_size if in_time else self.batch),
                        discard_exploration=True,
                        timeout=limits.left if in_time else math.inf,
                    )
                if path is not None:
                    _store(sampler, path, identity)
                bar.update(int(sampler.n_like) - bar.n)
        return self._result(sampler, seed)

    def _sampler(self, target: Target, seed: int, path: Path | None, stored: bytes | None) -> nautilus.Sampler:
        from nautilus import Sampler

        with _in_memory(io.BytesIO(stored or b"")), naming(f"checkpoint {path}"):
            try:
                sampler = Sampler(
                    _identity,
                    target.finite,
                    n_dim=target.n_dim,
                    n_live=self.n_live,
                    n_update=max(self.n_update, self.n_live),
                    n_networks=self.n_networks,
                    neural_network_kwargs={"batch_size": min(500, self.n_live), **_NETWORK},
                    n_batch=self.batch,
                    vectorized=True,
                    seed=seed,
                    filepath=None if stored is None else path,
                )
            except (KeyError, ValueError, TypeError, OSError) as error:
                if stored is None:
                    raise
                raise InputError(f"was written by another version of nautilus ({error!r}); remove it") from None
        sampler.filepath = None  # read if it was there; from now on written whole, by us
        return sampler

    def _result(self, sampler: nautilus.Sampler, seed: int) -> Sampled:
        few = sampler.explored and not (np.all(sampler.shell_n >= 1) and sampler.n_eff >= min(self.n_eff, 200))
        if few:
            sampler.discard_exploration = False
        u, log_weight, value = sampler.posterior()
        n_eff = float(sampler.n_eff)
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
        weight = np.exp(log_weight - log_weight.max())
        n = int(max(min(self.n_eff, n_eff), 1))
        levels = (np.arange(n) + rng.random()) / n
        total = np.cumsum(weight)
        rows = rng.permutation(np.minimum(np.searchsorted(total / total[-1], levels), len(u) - 1))
        convergence = NestedConvergence(
            bool(sampler.explored), n_eff, float(self.n_eff), bool(few or not sampler.explored)
        )
        error = 1 / math.sqrt(max(n_eff, 1.0)) if sampler.explored else math.nan
        return Sampled(u[rows], value[rows], convergence, float(sampler.log_z), error, int(sampler.n_like))


def _identity(u: FloatArray) -> FloatArray:
    return u


@contextmanager
def _libraries_found_once() -> Iterator[None]:
    """Let nautilus, which before each draw looks all loaded libraries up to limit their threads (7 ms), do so once."""
    from nautilus import sampler as module
    from threadpoolctl import ThreadpoolController

    own = module.threadpool_limits
    module.threadpool_limits = ThreadpoolController().limit
    try:
        yield
    finally:
        module.threadpool_limits = own


@contextmanager
def _in_memory(buffer: io.BytesIO) -> Iterator[None]:
    """Let nautilus, which opens files by ``h5py.File(path, mode)``, read and write these bytes instead."""
    import h5py
    from nautilus import sampler as module

    def opened(path: object, mode: str = "r") -> h5py.File:
        return h5py.File(buffer, "r" if mode == "r" else "w")

    module.h5py = SimpleNamespace(File=opened)
    try:
        yield
    finally:
        module.h5py = h5py


def _store(sampler: nautilus.Sampler, path: Path, identity: str) -> None:
    import h5py

    buffer = io.BytesIO()
    with _in_memory(buffer):
        sampler.write(path.with_name(f".memory{path.suffix}"))
    with h5py.File(buffer, "a") as file:
        file.attrs["identity"] = identity
    write_bytes(path, sealed(buffer.getvalue()))


def _stored(path: Path, identity: str) -> bytes | None:
    """HDF5 of a checkpoint, None where there is none."""
    if path.suffix not in (".h5", ".hdf5"):
        raise InputError(f"checkpoint: must end in .h5 or .hdf5 for nested sampling, got {str(path)!r}")
    if not path.exists():
        return None
    import h5py

    with naming(f"checkpoint {path}"):
        try:
            data = unsealed(path.read_bytes())
        except OSError as error:
            raise InputError(f"cannot be read ({reason(error)})") from None
    with h5py.File(io.BytesIO(data), "r") as file:
        if file.attrs.get("identity") != identity:
            raise InputError(f"checkpoint: {str(path)!r} belongs to another likelihood, sampler or seed; remove it")
    return data
