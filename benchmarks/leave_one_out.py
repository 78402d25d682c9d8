"""Do posteriors hold on a foreground that no model of theirs has? Every foreground left out in turn.

Mocks as bright as the real map are drawn under one interstellar model (or another disk or halo), and every method asks
with a sky that has all but this one: :func:`without` takes it out of the robust preset. Excess and disk are as bright
on all mocks as the fit with Model O makes them, their source counts are the prior's, and their places those of the
templates that the mock names. Needs the data fermi-573w and bulge-templates::

    python benchmarks/leave_one_out.py fit O --mocks 500 --out /tmp/proof        # Poisson fits: plain and adaptive
    python benchmarks/leave_one_out.py networks O --run runs/without-O --out /tmp/proof
    python benchmarks/leave_one_out.py smooth O --run runs/without-O --mocks 60   # what is excluded of a smooth excess
    python benchmarks/leave_one_out.py sky O --nside 64 > without-O.toml          # to simulate and train a run
    python benchmarks/leave_one_out.py priors slope --run RUN --mocks 200         # which prior takes the excess' light
    python benchmarks/leave_one_out.py table --out /tmp/proof

Networks are also asked about skies that no robust sky has: :data:`OTHERS`. Where an interstellar model of this library
is left out (:data:`BUILT_IN`), skies have nside 64 and ten energy bins, of which no real maps are at hand: mixtures of
the four others, with fields, halos and disks of the preset; fluxes of mocks are those of the real map and Model O.
What is done is kept, and a run that was stopped goes on. A figure stands with its Monte Carlo error.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import astropy.units as u
import healpy
import numpy as np
from astropy.coordinates import SkyCoord
from numpy.typing import NDArray

from gcesbi import Formula, GaussianField, Observation, PointSources, Simulator, SkyModel, Smooth
from gcesbi.analysis.gate import stored_gate
from gcesbi.analysis.run import Run
from gcesbi.analysis.settings import load_settings
from gcesbi.baselines import NormPrior, PoissonFit, fit_adaptive_maps
from gcesbi.evaluation.matched_maps import at_composition
from gcesbi.io import read_observation
from gcesbi.io.data import located
from gcesbi.io.files import read_json, write_text
from gcesbi.simulation.composition import Composition
from gcesbi.simulation.sky_settings import INTERSTELLAR

Array = NDArray[np.float64]

LEFT_OUT = ("O", "A", "F", "p6v11", "thick", "slope")
"""Interstellar models; a disk of scale height 1 kpc; a halo of slope 1."""
OTHERS = ("remnants", "pulsars", "bulge", "isotropic", "unmasked", "steep")
"""Built-in foregrounds (cosmic rays of remnants in a halo of 10 kpc, of pulsars in one of 4 kpc); the Coleman bulge in
place of a halo; an isotropic population of 5e-8 photons per cm² and s; two unmasked sources of 200 photons; the gas of
Model O made dimmer by :data:`STEEP` for every degree of latitude."""
BUILT_IN = tuple(INTERSTELLAR)
"""Interstellar models of this library, in ten energy bins at nside 64."""
STEEP = 0.024
LEVELS = (0.68, 0.95)
_ASKED = ("gce", "disk")
_STEMS = {"p6v11": ("dif",)}
_QUANTILES = (0.025, 0.16, 0.5, 0.84, 0.975)
_FIELDS = {"pi": GaussianField(sigma=0.15, length=10.0), "ic": GaussianField(sigma=0.2, length=10.0)}
"""Wide, for narrow ones take the excess. O's inverse Compton light differs by 18 % from a mixture of the others."""
_SHAPES = {"gce": Formula.of("nfw", gamma=1.2), "disk": Formula.of("disk", z_s=0.3)}
_PARTS: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "fields": ("pi_field_sigma", "pi_field2_sigma", "ic_field_sigma"),
    "norms": ("pi_norm", "ic_norm", "iso_norm", "bub_norm"),
    "mixtures": ("pi_weight1", "ic_weight1", "bub_weight"),
    "isotropic sources": ("unresolved_flux",),
    "disk": ("disk_z_s", "disk_flux"),
}
"""Parameters of the robust preset to which mocks under Model O give one value each."""
_AT_ONCE = 20  # mocks of a file
_PER_FILE = 4  # mocks that are fitted before they are kept


def without(left_out: str, nside: int = 128) -> Composition:
    """The robust sky without one of the things it is robust against.

    The disk's height is then at most 0.8 kpc, the halo's slope at least 1.1.
    """
    sky = load_settings("robust").sky
    if left_out in BUILT_IN:
        return _in_ten_bins(without("", 64), [each for each in BUILT_IN if each != left_out])
    sky = sky.replace(region=sky.region.model_copy(update={"nside": nside}))
    for each in sky.components:
        if isinstance(each, Smooth):  # a norm is counts a pixel
            low, high = each.norm.range
            sky = sky.change(each.name, norm=[low * (128 / nside) ** 2, high * (128 / nside) ** 2])
    if left_out == "thick":
        height = {"prior": "log-uniform", "low": 0.2, "high": 0.8}
        return sky.change("disk", template={"formula": "disk", "z_s": height})
    if left_out == "slope":
        excess = next(each.template for each in sky.components if each.name == "gce")
        halo = Formula.of("nfw", gamma=[1.1, 1.4])
        return sky.change("gce", template=excess.model_copy(update={"mixture": (halo, excess.mixture[1])}))
    stems = _STEMS.get(left_out, (f"{left_out}pi", f"{left_out}ic"))
    for component in sky.components:
        maps = getattr(component.template, "mixture", ())
        kept = [each for each in maps if not str(getattr(each, "file", "")).endswith(tuple(f"_{s}.npy" for s in stems))]
        if len(kept) < len(maps):
            sky = sky.change(component.name, template=component.template.model_copy(update={"mixture": tuple(kept)}))
    return sky


def _in_ten_bins(sky: Composition, models: Sequence[str]) -> Composition:
    """A sky of the preset, or one like it, with interstellar models of this library, and a halo for an excess."""
    seen = SkyModel.preset(n_energy=10).composition
    sky = sky.replace(energy_edges=seen.energy_edges, exposure=seen.exposure, psf=seen.psf)
    found: dict[str, dict[Any, None]] = {"pi": {}, "ic": {}}
    for sources, height, temperature in (INTERSTELLAR[each] for each in models):
        told = {"sources": sources, "halo_height": height}
        found["pi"][Formula.of("pion-decay", spin_temperature=temperature, **told)] = None
        found["ic"][Formula.of("inverse-compton", **told)] = None
    for name, maps in found.items():
        mixed = {"mixture": tuple(maps), "alpha": 0.3} if len(maps) > 1 else next(iter(maps))
        sky = sky.change(name, template=mixed)
    sky = sky.change("iso", template="isotropic").change("bub", template="bubbles")
    return sky.change("gce", template=Formula.of("nfw", gamma=[0.6, 1.4] if len(models) > 1 else 1.2))


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
    built_in = {"remnants": ("snr", 10.0), "pulsars": ("lorimer", 4.0)}
    if left_out in built_in:
        sky = SkyModel.from_folder("fermi-573w", nside=nside).composition
        told = dict(zip(("sources", "halo_height"), built_in[left_out], strict=True))
        sky = sky.change("pi", template={"formula": "pion-decay", "spin_temperature": 150.0, **told})
        return SkyModel.build(sky.change("ic", template={"formula": "inverse-compton", **told}))
    if left_out in BUILT_IN:
        sky = _in_ten_bins(without("", 64), [left_out]).change("disk", template=_SHAPES["disk"])
        known = [each.model_copy(update={"nuisances": ()}) for each in sky.components if each.name != "unresolved"]
        return SkyModel.build(sky.replace(components=tuple(known)))
    if left_out == "bulge":
        excess = next(each.template for each in load_settings("robust").sky.components if each.name == "gce")
        sky = SkyModel.from_folder("fermi-573w", nside=nside).composition
        return SkyModel.build(sky.change("gce", template=excess.mixture[1]))
    if left_out == "steep":
        sky = SkyModel.from_folder("fermi-573w", nside=nside).composition
        gas = next(each.template for each in sky.components if each.name == "pi")
        values = np.load(located(gas.file))
        latitude = healpy.pix2ang(healpy.npix2nside(values.size), np.arange(values.size), lonlat=True)[1]
        steep = gas.model_copy(update={"file": None, "values": values * np.exp(-STEEP * np.abs(latitude))})
        return SkyModel.build(sky.change("pi", template=steep))
    diffuse = {"diffuse": left_out if left_out in LEFT_OUT else "O"}
    chosen = {"thick": {"disk": "z1p0"}, "slope": {"nfw": "g1p0"}}.get(left_out, diffuse)
    return SkyModel.from_folder("fermi-573w", nside=nside, **chosen)


def mocks(left_out: str, n: int, folder: Path, nside: int = 128) -> tuple[SkyModel, Array, Array, Array]:
    """The mocks' sky, their counts (n, 1, n_pix), fluxes (n, n_template) and SCDs (n, 2, n_bin)."""
    model = left_out_sky(left_out, nside)
    seen = read_observation("fermi-573w", mask="3fgl", nside=nside)
    nominal = SkyModel.from_folder("fermi-573w", nside=nside)
    names, best, parts = model.prior().names, None, []
    fitted = nominal if left_out in BUILT_IN else model
    folder.mkdir(parents=True, exist_ok=True)
    for block in range(-(-n // _AT_ONCE)):
        kept = folder / f"mocks-{left_out}{'' if nside == 128 else f'-nside{nside}'}-{block}.npz"
        if not kept.exists():
            rng = np.random.default_rng([29, (*LEFT_OUT, *OTHERS, *BUILT_IN).index(left_out), block])
            theta = at_composition(model, fitted, seen, _AT_ONCE, rng)
            if best is None:
                best = dict(zip(nominal.names, PoissonFit(nominal, seen).run().flux[:, 0], strict=True))
            for name in _ASKED:
                _set_flux(theta, names, name, best[name], rng)
            drawn = Simulator(model).draw(theta, rng)
            counts = drawn.counts + _unknown(left_out, model, rng)
            np.savez(kept, counts=counts, flux=drawn.flux.sum(axis=-1), scd=drawn.scd)
        with np.load(kept) as found:
            parts.append([found[name] for name in ("counts", "flux", "scd")])
    counts, flux, scd = (np.concatenate(each)[:n] for each in zip(*parts, strict=True))
    return model, counts, flux, scd


def _set_flux(theta: Array, names: Sequence[str], of: str, flux: float, rng: np.random.Generator) -> None:
    """Give a template's populations so much flux together in parameters (n, n_parameter), each a random share."""
    columns = [names.index(each) for each in names if each.startswith(of) and each.endswith("_flux")]
    theta[:, columns] = flux * rng.dirichlet(np.ones(len(columns)), len(theta))


def _unknown(left_out: str, model: SkyModel, rng: np.random.Generator) -> NDArray[np.int64]:
    """Counts (20, 1, n_pix) of sources that belong to no template."""
    extra = np.zeros((_AT_ONCE, 1, model.region.n_pix), np.int64)
    if left_out == "isotropic":
        dots = PointSources(name="dots", template="isotropic", populations=[{"xi": (-12, -9), "flux": (0, 1e-7)}])
        other = SkyModel.build(model.composition.replace(components=(dots,), subject="dots"))
        theta = other.prior().draw(_AT_ONCE, rng)
        theta[:, other.prior().names.index("dots_flux")] = 5e-8
        extra += Simulator(other).draw(theta, rng).counts
    elif left_out == "unmasked":
        nside, pixels = model.region.nside, model.region.pixels
        psf = model.psf[0] if isinstance(model.psf, (tuple, list)) else model.psf
        for counts in extra[:, 0]:
            for at in rng.choice(pixels, 2):
                lon, lat = healpy.pix2ang(nside, at, nest=True, lonlat=True)
                place = SkyCoord(lon, lat, unit="deg")
                away = place.directional_offset_by(rng.uniform(0, 360, 200) * u.deg, psf.sample(200, rng) * u.deg)
                hit = healpy.ang2pix(nside, away.ra.deg, away.dec.deg, nest=True, lonlat=True)
                counts += np.bincount(np.searchsorted(pixels, hit[np.isin(hit, pixels)]), minlength=len(pixels))
    return extra


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
    opened = Run.open(run)
    model, counts, flux, scd = mocks(left_out, n, folder, opened.model.region.nside)
    rows, gate = [], stored_gate(opened)
    p_values = [None] * n if gate is None else gate.p_values(counts).tolist()
    for i in range(n):
        seen = Observation(counts[i], model.exposure, model.energy_edges, model.region, model.psf)
        answer = opened.infer(seen)
        fluxes = answer.quantiles("flux", _QUANTILES)
        row = _row(fluxes[:, [opened.model.names.index(each) for each in _ASKED]], model, flux[i])
        row["gate"] = {"p": p_values[i]}
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


def priors(left_out: str, n: int, run: Path) -> str:
    """What the prior of every part of the robust sky does to a halo's flux, as a table in Markdown.

    Maps are drawn by the run's own sky where its prior has the mocks under Model O: single maps, no field, no isotropic
    sources, a thin disk. Then one part after another is as its prior has it, and all at once.
    """
    opened, mocked, nominal = Run.open(run), left_out_sky(left_out), SkyModel.from_folder("fermi-573w")
    model, seen, rng = opened.model, read_observation("fermi-573w", mask="3fgl"), np.random.default_rng(31)
    flux, best = (
        dict(zip(each.names, PoissonFit(each, seen).run().flux[:, 0], strict=True)) for each in (mocked, nominal)
    )
    per_norm = dict(zip(model.names, model.flux_per_norm[:, 0], strict=True))
    corner = {name: flux[name.removesuffix("_norm")] / per_norm[name.removesuffix("_norm")] for name in _PARTS["norms"]}
    corner |= dict.fromkeys((*_PARTS["fields"], *_PARTS["isotropic sources"]), 0.0)
    corner |= dict.fromkeys((*_PARTS["mixtures"], "gce_weight"), 1.0)
    corner |= {"disk_z_s": 0.3, "disk_flux": best["disk"], "gce_gamma": 1.0 if left_out == "slope" else 1.2}
    prior, lines = model.prior(), ["| as in the prior | error / claimed | bias | half-width |", "|---" * 4 + "|"]
    for part, free in {**_PARTS, "all": sum(_PARTS.values(), ())}.items():
        theta = prior.draw(n, rng)
        for name in corner.keys() - set(free):
            theta[:, prior.names.index(name)] = corner[name]
        _set_flux(theta, prior.names, "gce", best["gce"], rng)
        drawn, rows = Simulator(model).draw(theta, rng), []
        for counts, true in zip(drawn.counts, drawn.flux[..., 0], strict=True):
            asked = opened.infer(Observation(counts, model.exposure, model.energy_edges, model.region, model.psf))
            told = asked.quantiles("flux", _QUANTILES)[:, [model.names.index(each) for each in _ASKED]]
            rows.append(_row(told, model, true))
        found = judged(rows, "gce")
        cells = (f"{value:.2f} ± {error:.2f}" for value, error in list(found.values())[2:])
        lines.append(f"| {part} | {' | '.join(cells)} |")
    return "\n".join(lines)


def smooth(left_out: str, n: int, run: Path) -> str:
    """What share of a smooth excess a run's networks exclude as Poisson at 95 %: mean and Monte Carlo error."""
    opened, model = Run.open(run), left_out_sky(left_out)
    seen, nominal = read_observation("fermi-573w", mask="3fgl"), SkyModel.from_folder("fermi-573w")
    best = dict(zip(nominal.names, PoissonFit(nominal, seen).run().flux[:, 0], strict=True))
    rng, names = np.random.default_rng([77, len(left_out)]), model.prior().names
    theta = at_composition(model, model, seen, n, rng)
    _set_flux(theta, names, "gce", 1e-12, rng)
    _set_flux(theta, names, "disk", best["disk"], rng)
    excess = model.names.index("gce")
    mean = model.templates[excess] * (best["gce"] / model.flux_per_norm[excess, 0])
    excluded = []
    for counts in Simulator(model).draw(theta, rng).counts:
        seen = Observation(counts + rng.poisson(mean), model.exposure, model.energy_edges, model.region, model.psf)
        excluded.append(1 - float(opened.infer(seen).quantiles("poisson_fraction", [0.95])[0]))
    error, many = np.std(excluded) / np.sqrt(n), np.mean(np.array(excluded) > 0.05)
    return f"{left_out}: {np.mean(excluded):.3f} ± {error:.3f} excluded; above 0.05 on {many:.0%}"


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
        left_out, *method = path.stem.rsplit("-", 2)  # names of methods have two words
        rows = read_json(path)["rows"]
        for name in _ASKED:
            found = judged(rows, name)
            if not lines:
                heads = ("left out", "method", "flux of", "mocks", *found, "SCD 68 %", "SCD 95 %", "gate's AUC")
                lines += ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
            found |= _of_networks(rows, name)
            cells = " | ".join(f"{value:.3f} ± {error:.3f}" for value, error in found.values())
            lines.append(f"| {left_out} | {' '.join(method)} | {name} | {len(rows)} | {cells} |")
    return "\n".join(lines)


def _of_networks(rows: list[dict[str, Any]], name: str) -> dict[str, tuple[float, float]]:
    """Share of source counts within bands, and the gate's power (it is calibrated: AUC = 1 - mean of p), where told."""
    told = {f"SCD {i}": [row[name]["scd"][i] for row in rows if "scd" in row[name]] for i in range(2)}
    told["AUC"] = [1 - row["gate"]["p"] for row in rows if row.get("gate", {}).get("p") is not None]
    kept = {key: np.array([each for each in values if each is not None]) for key, values in told.items()}
    return {key: (float(v.mean()), float(v.std() / np.sqrt(len(v)))) for key, v in kept.items() if len(v)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("fit", "networks", "priors", "smooth", "sky", "table"))
    parser.add_argument("left_out", nargs="?", choices=(*LEFT_OUT, *OTHERS, *BUILT_IN))
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
    elif asked.left_out in (OTHERS if asked.what == "sky" else (*OTHERS, *BUILT_IN)) and asked.what != "networks":
        parser.error(f"{asked.left_out}: is for networks")
    elif asked.what == "priors" and asked.left_out not in ("O", "slope"):
        parser.error("priors: of a halo under Model O: O or slope")
    elif asked.what == "priors":
        print(priors(asked.left_out, asked.mocks, asked.run))
    elif asked.what == "smooth":
        print(smooth(asked.left_out, asked.mocks, asked.run))
    elif asked.what == "sky":
        from gcesbi.simulation.composition_files import write_toml

        print(write_toml(without(asked.left_out, asked.nside)))
    elif asked.what == "fit":
        fit(asked.left_out, asked.mocks, asked.out, asked.method)
    else:
        networks(asked.left_out, asked.mocks, asked.out, asked.run)


if __name__ == "__main__":
    main()
