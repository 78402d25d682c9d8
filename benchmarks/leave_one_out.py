"""Do posteriors hold on a foreground that no model of theirs has? Every foreground left out in turn.

Mocks as bright as the real map are drawn under one interstellar model (or another disk or halo), and every method asks
with a sky that has all but this one: :func:`without` takes it out of the robust preset. Excess and disk are as bright
on all mocks as the fit with Model O makes them, their source counts are the prior's, and their places those of the
templates that the mock names. Needs the data fermi-573w and bulge-templates::

    python benchmarks/leave_one_out.py fit O --mocks 500 --out /tmp/proof        # Poisson fits: plain and adaptive
    python benchmarks/leave_one_out.py networks O --run runs/without-O --out /tmp/proof
    python benchmarks/leave_one_out.py sky O --nside 64 > without-O.toml          # to simulate and train a run
    python benchmarks/leave_one_out.py table --out /tmp/proof

What is done is kept, and a run that was stopped goes on. A figure stands with its Monte Carlo error.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gcesbi import Formula, GaussianField, Observation, Simulator, SkyModel, Smooth
from gcesbi.analysis.settings import load_settings
from gcesbi.baselines import NormPrior, PoissonFit, fit_adaptive_maps
from gcesbi.evaluation.matched_maps import at_composition
from gcesbi.io import read_observation
from gcesbi.io.files import read_json, write_text
from gcesbi.simulation.composition import Composition

Array = NDArray[np.float64]

LEFT_OUT = ("O", "A", "F", "p6v11", "thick", "slope")
"""Interstellar models; a disk of scale height 1 kpc; a halo of slope 1."""
LEVELS = (0.68, 0.95)
_ASKED = ("gce", "disk")
_STEMS = {"p6v11": ("dif",)}
_QUANTILES = (0.025, 0.16, 0.5, 0.84, 0.975)
_FIELDS = {"pi": GaussianField(sigma=0.1, length=4.0), "ic": GaussianField(sigma=0.15, length=8.0)}
"""About what parts of Model A and F differ by: 9-10 % and 9-11 % (18 % of O's inverse Compton), over 4 to 8 degrees."""
_SHAPES = {"gce": Formula.of("nfw", gamma=1.2), "disk": Formula.of("disk", z_s=0.3)}
_AT_ONCE = 20  # mocks of a file
_PER_FILE = 4  # mocks that are fitted before they are kept


def without(left_out: str, nside: int = 128) -> Composition:
    """The robust sky without one of the things it is robust against.

    The disk's height is then at most 0.8 kpc, the halo's slope at least 1.1.
    """
    sky = load_settings("robust").sky
    sky = sky.replace(region=sky.region.model_copy(update={"nside": nside}))
    for each in sky.components:
        if isinstance(each, Smooth):  # a norm is counts a pixel
            low, high = each.norm.range
            sky = sky.change(each.name, norm=[low * (128 / nside) ** 2, high * (128 / nside) ** 2])
    if left_out == "thick":
        return sky.change("disk", template={"formula": "disk", "z_s": [0.2, 0.8]})
    if left_out == "slope":
        excess = next(each.template for each in sky.components if each.name == "gce")
        halo = Formula.of("nfw", gamma=[1.1, 1.4])
        return sky.change("gce", template=excess.model_copy(update={"mixture": (halo, excess.mixture[1])}))
    stems = _STEMS.get(left_out, (f"{left_out}pi", f"{left_out}ic"))
    for component in sky.components:
        maps = getattr(component.template, "mixture", ())
        kept = [each for each in maps if not str(getattr(each, "file", "")).endswith(tuple(f"_{s}.npy" for s in stems))]
        if len(kept) < len(maps):
            sky = sky.change(component.name, template={"mixture": kept})
    return sky


def separated(left_out: str) -> tuple[Composition, tuple[tuple[str, ...], ...]]:
    """The robust sky as a fit takes it, and which of its templates are mixed.

    Every map of a mixture is a template of its own under the log-field of :data:`_FIELDS`. Halo and disk have the shape
    that mocks have, but where just that is left out: then they are between the ends of what floats. Isotropic sources
    shine like the isotropic template.
    """
    components, mixtures = [], []
    for component in without(left_out).components:
        if component.name == "unresolved":
            continue
        template, told = component.template, {}
        parts = getattr(template, "mixture", (template,))
        if component.name in _SHAPES and left_out not in ("thick", "slope"):
            parts = (_SHAPES[component.name],)
        parts = [end for part in parts for end in _ends(part)]
        if component.name in _FIELDS:
            told["nuisances"] = (_FIELDS[component.name],)
        names = tuple(f"{component.name}{i + 1}" for i in range(len(parts)))
        pairs = zip(names, parts, strict=True)
        components += [component.model_copy(update={"name": name, "template": part, **told}) for name, part in pairs]
        mixtures.append(names)
    sky = load_settings("robust").sky
    return sky.replace(components=tuple(components), subject="gce1"), tuple(mixtures)


def norm_priors(sky: Composition, model: SkyModel) -> dict[str, NormPrior]:
    """The sky's largest norms and fluxes, for each of its templates."""
    found = {}
    for component, per_norm in zip(sky.components, model.flux_per_norm[:, 0], strict=True):
        if isinstance(component, Smooth):
            found[component.name] = NormPrior(high=component.norm.range[1])
        else:
            top = sum(each.flux.range[1] for each in component.populations)
            found[component.name] = NormPrior(high=top / per_norm)
    return found


def _ends(template: Any) -> list[Any]:
    """A template, or those of the ends of its parameter that floats."""
    floats = {} if not isinstance(template, Formula) else template.parameters
    for name, marginal in floats.items():
        if not isinstance(marginal, str) and marginal.range[0] < marginal.range[1]:
            return [Formula.of(template.formula, **{**floats, name: end}) for end in marginal.range]
    return [template]


def left_out_sky(left_out: str, nside: int = 128) -> SkyModel:
    """The sky under which mocks are drawn."""
    chosen = {"thick": {"disk": "z1p0"}, "slope": {"nfw": "g1p0"}}.get(left_out, {"diffuse": left_out})
    return SkyModel.from_folder("fermi-573w", nside=nside, **chosen)


def mocks(left_out: str, n: int, folder: Path, nside: int = 128) -> tuple[SkyModel, Array, Array, Array]:
    """The mocks' sky, their counts (n, 1, n_pix), fluxes (n, n_template) and SCDs (n, 2, n_bin)."""
    model = left_out_sky(left_out, nside)
    seen = read_observation("fermi-573w", mask="3fgl", nside=nside)
    nominal = SkyModel.from_folder("fermi-573w", nside=nside)
    names, best, parts = model.prior().names, None, []
    folder.mkdir(parents=True, exist_ok=True)
    for block in range(-(-n // _AT_ONCE)):
        kept = folder / f"mocks-{left_out}{'' if nside == 128 else f'-nside{nside}'}-{block}.npz"
        if not kept.exists():
            rng = np.random.default_rng([29, LEFT_OUT.index(left_out), block])
            theta = at_composition(model, model, seen, _AT_ONCE, rng)
            if best is None:
                best = dict(zip(nominal.names, PoissonFit(nominal, seen).run().flux[:, 0], strict=True))
            for name in _ASKED:
                columns = [names.index(each) for each in names if each.startswith(name) and each.endswith("_flux")]
                theta[:, columns] = best[name] * rng.dirichlet(np.ones(len(columns)), _AT_ONCE)
            drawn = Simulator(model).draw(theta, rng)
            np.savez(kept, counts=drawn.counts, flux=drawn.flux[..., 0], scd=drawn.scd)
        with np.load(kept) as found:
            parts.append([found[name] for name in ("counts", "flux", "scd")])
    counts, flux, scd = (np.concatenate(each)[:n] for each in zip(*parts, strict=True))
    return model, counts, flux, scd


def fit(left_out: str, n: int, folder: Path, only: str | None = None) -> None:
    """Poisson fits to the mocks: with one other model, as was done, and with all others under log-fields."""
    model, counts, flux, _ = mocks(left_out, n, folder)
    plain = SkyModel.from_folder("fermi-573w", diffuse="A" if left_out == "O" else "O")
    sky, mixtures = separated(left_out)
    robust = SkyModel.build(sky)

    def one_by_one(maps: Array) -> Array:
        seen = (Observation(each, model.exposure, model.energy_edges, model.region, model.psf) for each in maps)
        drawn = (PoissonFit(plain, each).run().posterior().sample(2000)["flux"] for each in seen)
        return _asked_quantiles(drawn, plain.names)

    def together(maps: Array) -> Array:
        found = fit_adaptive_maps(maps, robust, norm_priors(sky, robust), mixtures=mixtures)
        return _asked_quantiles((found.samples(i, 2000)["flux"] for i in range(len(maps))), robust.names)

    for method, ask in (("plain fit", one_by_one), ("robust fit", together)):
        if only not in (None, method):
            continue
        kept = folder / f"{left_out}-{method.replace(' ', '-')}.json"
        rows = read_json(kept)["rows"] if kept.exists() else []
        while len(rows) < n:
            part = slice(len(rows), min(len(rows) + _PER_FILE, n))
            found = ask(counts[part])
            rows += [_row(each, model, true) for each, true in zip(found, flux[part], strict=True)]
            write_text(kept, json.dumps({"rows": rows}))
            print(f"{left_out}, {method}: {len(rows)} of {n}", file=sys.stderr, flush=True)


def _asked_quantiles(drawn: Iterable[Array], names: Sequence[str]) -> Array:
    """Quantiles (n, n_quantile, n_asked) of the fluxes of what is asked, summed over its templates."""
    columns = [[i for i, name in enumerate(names) if name.rstrip("123") == asked] for asked in _ASKED]
    return np.stack(
        [np.quantile(np.stack([flux[:, c].sum(axis=1) for c in columns]), _QUANTILES, axis=1) for flux in drawn]
    )


def networks(left_out: str, n: int, folder: Path, run: Path, name: str = "robust networks") -> None:
    """A run's networks on the mocks: fluxes, curves of source counts, and the share excluded as Poisson."""
    from gcesbi.analysis.run import Run

    opened = Run.open(run)
    model, counts, flux, scd = mocks(left_out, n, folder, opened.model.region.nside)
    rows = []
    for i in range(n):
        seen = Observation(counts[i], model.exposure, model.energy_edges, model.region, model.psf)
        answer = opened.infer(seen)
        fluxes = answer.quantiles("flux", _QUANTILES)
        row = _row(fluxes[:, [opened.model.names.index(each) for each in _ASKED]], model, flux[i])
        curves = answer.quantiles("scd_cdf", [0.025, 0.16, 0.84, 0.975])
        for name_ in _ASKED:
            low2, low, high, high2 = curves[:, opened.model.point_sources.index(name_)]
            true = np.cumsum(scd[i, model.point_sources.index(name_)])
            unsure = (true > 0.02) & (true < 0.98)
            row[name_] |= {
                "scd": [
                    float(np.mean(((low <= true) & (true <= high))[unsure])) if unsure.any() else None,
                    float(np.mean(((low2 <= true) & (true <= high2))[unsure])) if unsure.any() else None,
                ],
                "scd_width": float(np.mean((high - low)[unsure])) if unsure.any() else None,
            }
        rows.append(row)
    write_text(folder / f"{left_out}-{name.replace(' ', '-')}.json", json.dumps({"rows": rows}))


def _row(quantiles: Array, truth: SkyModel, flux: Array) -> dict[str, Any]:
    return {
        name: {"true": float(flux[truth.names.index(name)]), "quantiles": quantiles[:, i].ravel().tolist()}
        for i, name in enumerate(_ASKED)
    }


def judged(rows: list[dict[str, Any]], name: str) -> dict[str, tuple[float, float]]:
    """Coverage at both levels, true over claimed error, bias and half-width over the truth, each with its error."""
    true = np.array([row[name]["true"] for row in rows])
    low2, low, middle, high, high2 = np.array([row[name]["quantiles"] for row in rows]).T
    n = len(rows)
    half = np.maximum((high - low) / 2, 1e-30)
    off = (middle - true) / half

    def share(inside: NDArray[np.bool_]) -> tuple[float, float]:
        p = float(inside.mean())
        return p, float(np.sqrt(max(p * (1 - p), 0.25 / n) / n))

    square = off**2
    ratio = float(np.sqrt(square.mean()))
    return {
        "68 %": share((low <= true) & (true <= high)),
        "95 %": share((low2 <= true) & (true <= high2)),
        "true / claimed error": (ratio, float(square.std() / np.sqrt(n) / 2 / ratio)),
        "bias": (float((middle / true - 1).mean()), float((middle / true).std() / np.sqrt(n))),
        "half-width": (float((half / true).mean()), float((half / true).std() / np.sqrt(n))),
    }


def table(folder: Path) -> str:
    """All that is done, as a table in Markdown."""
    lines: list[str] = []
    for path in sorted(folder.glob("*-*.json")):
        left_out, _, method = path.stem.partition("-")
        rows = read_json(path)["rows"]
        for name in _ASKED:
            found = judged(rows, name)
            if not lines:
                lines += [
                    "| left out | method | flux of | mocks | " + " | ".join(found) + " |",
                    "|---" * (4 + len(found)) + "|",
                ]
            cells = " | ".join(f"{value:.3f} ± {error:.3f}" for value, error in found.values())
            lines.append(f"| {left_out} | {method.replace('-', ' ')} | {name} | {len(rows)} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("fit", "networks", "sky", "table"))
    parser.add_argument("left_out", nargs="?", choices=LEFT_OUT)
    parser.add_argument("--mocks", type=int, default=500)
    parser.add_argument("--out", type=Path, default=Path("proof"))
    parser.add_argument("--run", type=Path)
    parser.add_argument("--nside", type=int, default=128, help="of the sky to simulate; that of a run is its own")
    parser.add_argument("--method", choices=("plain fit", "robust fit"), help="one of the fits")
    asked = parser.parse_args()
    if asked.what == "table":
        print(table(asked.out))
    elif asked.left_out is None:
        parser.error("name what is left out")
    elif asked.what == "sky":
        from gcesbi.simulation.composition_files import write_toml

        print(write_toml(without(asked.left_out, asked.nside)))
    elif asked.what == "fit":
        fit(asked.left_out, asked.mocks, asked.out, asked.method)
    else:
        networks(asked.left_out, asked.mocks, asked.out, asked.run)


if __name__ == "__main__":
    main()
