r"""Compiled kernels that draw one map: Poisson emission and thinned populations of point sources.

**The law.** The sources of a population are a Poisson process in log-flux x = log₁₀F and position: pixel p of the
patch holds sources at the rate N f(x) t_p / Σ_{q in region} t_q, f the skew normal cut at x_max and normalised, t the
template, N = F_tot / ∫ 10ˣ f dx the mean number inside the region. A source lies evenly within its pixel and yields
Poisson(μ) photons, μ = F Σ_e s_e ε_e(p), s the spectrum's share and ε the exposure; each photon takes energy bin e
with probability ∝ s_e ε_e(p) and is displaced by the PSF of that bin.

**Thinning.** By the marking theorem sources with k ≥ 1 photons are a Poisson process of their own, with rate
N f(x) t_p (1 - e^-μ); only these are drawn, so that time follows photons, not sources. Sources outside the region are
seen through the photons that reach it: a photon counts only if it is displaced further than the distance d_p to the
region, which it is with probability r_e(p) = 1 - C_e(d_p), C the PSF's containment. Photons that fall short are thinned
away too: ε_e(p) is replaced by ε_e(p) r_e(p), and displacements are drawn beyond d_p.

**Single photons.** With M = F max_p ε(p), the rate splits into two independent processes,

    1 - e^-μ = μ e^-M + T(μ),      T(μ) = 1 - e^-μ - μ e^-M ≥ 0.

The first holds sources with a single photon, and does not depend on the pixel but through t_p ε_e(p): its photons land
on the smoothed template. From inside the region their number is drawn with the label, and each photon's pixel from an
alias table of the smoothed template, at no more than the cost of the photon. From outside they are Poisson emission,
and join the diffuse templates. The second process is drawn source by source: candidates come from the envelope N f(x)
T(M) t_p and are accepted with the ratio T(μ) / T(M), T being an increasing function. An accepted source has one photon
with probability μ (e^-μ - e^-M) / T(μ), else a Poisson number of at least two.

**Zones.** The region is one zone; pixels outside form others, of like reach. M is the largest of a zone, so that of far
sources, whose photons hardly reach the region, almost none is drawn.

**The label.** Sources inside without a photon are the complementary process, N f(x) t_p e^-μ. For these and for single
photons the number of sources in every flux bin of the SCD histogram is drawn, and their fluxes one by one up to 64
sources; beyond, the sum of fluxes is a normal variable with the exact mean and variance given that number.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gcesbi.physics.skew_normal import pdf_scalar
from gcesbi.simulation.draws import fast_state, from_table, poisson, turned, two_or_more, uniform
from gcesbi.sky.compiled import njit
from gcesbi.sky.healpix import pixel_of, position_in

__all__ = ["DRAWS", "N_NODE", "Sky", "Source", "draw_poisson", "draw_population", "skew_normal_nodes"]

DRAWS = 3
"""Raised whenever the same seed would give other maps of the same law: no store is filled by two versions."""
N_NODE = 512
N_EXPLICIT = 64.0
LN10 = math.log(10.0)


class Sky(NamedTuple):
    """Where photons come from and land; the same for all templates.

    ``where`` (n_patch, 3): base pixel and (x, y) of every pixel. ``landing`` (12 nside²,): place in the region or -1.
    ``effective`` (n_patch, n_energy): exposure, cm² s, times ``reach`` (n_patch, n_energy), the probability that a
    photon is displaced far enough to land in the region. ``drop`` (n_energy, n_table): 1 - cos θ where a share
    (1 - j / (n_table - 1))² of the light lies beyond θ. ``low``, ``width``: of the flux bins in log₁₀F. In an image
    ``nside`` is 0, and ``frame`` holds the size of its pixels (rad), column and row of its origin, and its shape; in
    it positions are those of its own sphere.
    """

    nside: int
    frame: NDArray[np.float64]
    where: NDArray[np.int64]
    landing: NDArray[np.int32]
    effective: NDArray[np.float64]
    reach: NDArray[np.float64]
    drop: NDArray[np.float64]
    low: float
    width: float


class Source(NamedTuple):
    """Where the sources of one template lie, the template t having sum 1 inside the region.

    ``pixels`` (n_reaching,): of the patch, zone by zone, those of the region first; ``zones`` (n_zone + 1,): where each
    zone begins, and the last one ends; ``share`` (n_zone,): sum of t in it. ``chance`` (n_reaching,) and ``either``
    (n_reaching, 2): alias table of t within the pixel's zone. ``classes`` (n_class, n_energy) and ``weights``
    (n_class,): mean exposure and share of t of classes of like exposure in the region. ``mean_exposure`` (n_energy,):
    Σ t ε over the region. ``landing_chance`` (n_energy, n_pix + 1) and ``landing_either`` (.., 2): alias tables of
    where photons from inside land, the last entry for those that leave the region. ``beyond`` (n_zone - 1, n_energy,
    n_pix): expected photons in the region, per flux, from every zone outside.
    """

    pixels: NDArray[np.int64]
    zones: NDArray[np.int64]
    share: NDArray[np.float64]
    chance: NDArray[np.float64]
    either: NDArray[np.int32]
    classes: NDArray[np.float64]
    weights: NDArray[np.float64]
    mean_exposure: NDArray[np.float64]
    landing_chance: NDArray[np.float64]
    landing_either: NDArray[np.int32]
    beyond: NDArray[np.float64]


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _chance_of_two(mean: float, none: float) -> float:  # pragma: no cover - compiled
    """Probability of at least two photons, 1 - (1 + mean) e^-mean, with none = e^-mean; relative error below 10⁻⁹."""
    if mean < 0.02:
        q = mean * mean
        return q * (0.5 - mean / 3.0 + q / 8.0 - q * mean / 30.0 + q * q / 144.0)
    return 1.0 - (1.0 + mean) * none


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _photons_of_candidate(
    rng: np.random.Generator, state: NDArray[np.uint64], mean: float, most: float
) -> int:  # pragma: no cover - compiled
    """Photons of a candidate of the second process, 0 if it is rejected; μ = mean, M = most."""
    none, floor = math.exp(-mean), math.exp(-most)
    two, one = _chance_of_two(mean, none), mean * (none - floor)
    u = uniform(state) * _chance_of_two(most, floor)
    if u > two + one:
        return 0
    return 1 if u < one else two_or_more(rng, state, mean, none, two)


@njit(cache=True, nogil=True, error_model="numpy")
def draw_poisson(
    rng: np.random.Generator,
    norms: NDArray[np.float64],
    templates: NDArray[np.float64],
    further: NDArray[np.float64],
    counts: NDArray[np.int32],
) -> None:  # pragma: no cover - compiled
    """Add to counts (n_energy, n_pix) one Poisson draw of the mean further + Σ_t norms[t, e] templates[t, e, p]."""
    n_template, n_energy, n_pix = templates.shape
    state = fast_state(rng)
    mean = np.empty(n_pix)
    for e in range(n_energy):
        mean[:] = further[e]
        for t in range(n_template):
            if norms[t, e] == 0.0:
                continue
            for p in range(n_pix):
                mean[p] += norms[t, e] * templates[t, e, p]
        for p in range(n_pix):
            counts[e, p] += poisson(rng, state, mean[p])


@njit(cache=True, nogil=True, error_model="numpy")
def _cumulate(values: NDArray[np.float64], step: float) -> NDArray[np.float64]:  # pragma: no cover - compiled
    """Integral from the first node to each node of a piecewise linear function."""
    total = np.empty(len(values))
    total[0] = 0.0
    for i in range(1, len(values)):
        total[i] = total[i - 1] + 0.5 * step * (values[i - 1] + values[i])
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _below(
    x: float, first: float, step: float, values: NDArray[np.float64], total: NDArray[np.float64]
) -> float:  # pragma: no cover - compiled
    """Integral of a piecewise linear function up to x."""
    place = (x - first) / step
    if place <= 0.0:
        return 0.0
    if place >= len(values) - 1:
        return total[-1]
    i = int(place)
    s = place - i
    return total[i] + step * s * (values[i] + 0.5 * s * (values[i + 1] - values[i]))


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _inverse(
    target: float, first: float, step: float, values: NDArray[np.float64], total: NDArray[np.float64], start: int
) -> float:  # pragma: no cover - compiled
    """The x up to which the integral of a piecewise linear function is `target`, at or above node `start`."""
    i = start
    while i < len(values) - 2 and total[i + 1] <= target:
        i += 1
    rest = (target - total[i]) / step
    root = math.sqrt(max(values[i] ** 2 + 2.0 * rest * (values[i + 1] - values[i]), 0.0))
    below = values[i] + root
    s = 2.0 * rest / below if below > 0.0 else 0.5
    return first + step * (i + min(max(s, 0.0), 1.0))


@njit(cache=True, nogil=True, error_model="numpy")
def _guide(total: NDArray[np.float64]) -> NDArray[np.int64]:  # pragma: no cover - compiled
    """For each of n equal steps of a total that rises over n nodes, the node at which a search for it may start."""
    n = len(total)
    guide = np.zeros(n + 1, np.int64)
    i = 0
    for j in range(n + 1):
        while i < n - 2 and total[i + 1] <= total[-1] * j / n:
            i += 1
        guide[j] = i
    return guide


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _small_atan2(y: float, x: float) -> float:  # pragma: no cover - compiled
    """The arc tangent of y / x; a short series (error below 10⁻¹³) for the small angles that are the rule."""
    if x > 0.0 and abs(y) < 0.08 * x:
        t = y / x
        q = t * t
        return t * (1.0 - q * (1.0 / 3.0 - q * (1.0 / 5.0 - q * (1.0 / 7.0 - q * (1.0 / 9.0)))))
    return math.atan2(y, x)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _position_in_image(
    frame: NDArray[np.float64], column: int, row: int, x: float, y: float
) -> tuple[float, float]:  # pragma: no cover - compiled
    """Sine of the latitude and longitude of a place within a pixel, even in solid angle."""
    low = math.sin((row - frame[2] - 0.5) * frame[0])
    high = math.sin((row - frame[2] + 0.5) * frame[0])
    return low + y * (high - low), -(column - frame[1] + x - 0.5) * frame[0]


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _pixel_of_image(frame: NDArray[np.float64], z: float, phi: float) -> int:  # pragma: no cover - compiled
    """Number of the pixel that holds a direction; -1 outside the image."""
    turn = phi - 2.0 * math.pi * math.floor(phi / (2.0 * math.pi) + 0.5)
    column = math.floor(frame[1] - turn / frame[0] + 0.5)
    row = math.floor(math.asin(min(max(z, -1.0), 1.0)) / frame[0] + frame[2] + 0.5)
    n_column, n_row = int(frame[3]), int(frame[4])
    return row * n_column + column if 0 <= column < n_column and 0 <= row < n_row else -1


@njit(cache=True, nogil=True, error_model="numpy")
def _emit(
    state: NDArray[np.uint64],
    sky: Sky,
    pixels: NDArray[np.int64],
    photons: NDArray[np.int64],
    spectrum: NDArray[np.float64],
    counts: NDArray[np.int32],
) -> int:  # pragma: no cover - compiled
    """Put the photons (n,) of sources in pixels (n,) of the patch; return how many land in the region."""
    nside, frame, where, landing, effective, reach, drops = (
        sky.nside,
        sky.frame,
        sky.where,
        sky.landing,
        sky.effective,
        sky.reach,
        sky.drop,
    )
    n_energy = len(spectrum)
    last = drops.shape[1] - 1
    upto = np.empty(n_energy)
    landed = 0
    for j in range(len(pixels)):
        p = pixels[j]
        if nside > 0:
            x = (where[p, 1] + uniform(state)) / nside
            y = (where[p, 2] + uniform(state)) / nside
            z, phi = position_in(where[p, 0], x, y)
        else:
            z, phi = _position_in_image(frame, where[p, 1], where[p, 2], uniform(state), uniform(state))
        s = math.sqrt(1.0 - z * z)
        total = 0.0
        for e in range(n_energy):
            total += spectrum[e] * effective[p, e]
            upto[e] = total
        for _ in range(photons[j]):
            e = 0
            if n_energy > 1:
                u = uniform(state) * total
                for i in range(n_energy - 1):
                    e += u > upto[i]
            place = last * (1.0 - math.sqrt(uniform(state) * reach[p, e]))
            i = min(int(place), last - 1)
            drop = drops[e, i] + (place - i) * (drops[e, i + 1] - drops[e, i])
            cosine = 1.0 - drop
            up, across = turned(state)
            sine = math.sqrt(drop * (2.0 - drop))
            north, east = sine * up, sine * across
            to_z, to_phi = cosine * z + north * s, phi + _small_atan2(east, cosine * s - north * z)
            pixel = pixel_of(nside, to_z, to_phi) if nside > 0 else _pixel_of_image(frame, to_z, to_phi)
            at = landing[pixel] if pixel >= 0 else -1
            if at >= 0:
                counts[e, at] += 1
                landed += 1
    return landed


@njit(cache=True, nogil=True, error_model="numpy")
def _draw_fluxes(
    rng: np.random.Generator,
    state: NDArray[np.uint64],
    sky: Sky,
    first: float,
    step: float,
    rate: NDArray[np.float64],
    flux: NDArray[np.float64],
    label: NDArray[np.float64],
) -> float:  # pragma: no cover - compiled
    """Add to the label (n_bin,) the flux of sources of rate (n_node,) over log-flux; return their number."""
    total = _cumulate(rate, step)
    first_moment = rate * flux
    second_moment = first_moment * flux
    total_first = _cumulate(first_moment, step)
    total_second = _cumulate(second_moment, step)
    number = 0.0
    before, before_first, before_second = 0.0, 0.0, 0.0
    for b in range(len(label)):
        if b == len(label) - 1:
            upto, upto_first, upto_second = total[-1], total_first[-1], total_second[-1]
        else:
            edge = sky.low + sky.width * b
            upto = _below(edge, first, step, rate, total)
            upto_first = _below(edge, first, step, first_moment, total_first)
            upto_second = _below(edge, first, step, second_moment, total_second)
        expected = upto - before
        if expected > 0.0:
            n = float(rng.poisson(expected)) if expected < 1e15 else expected
            if n > N_EXPLICIT:
                mean = (upto_first - before_first) / expected
                variance = max((upto_second - before_second) / expected - mean * mean, 0.0)
                label[b] += max(n * mean + math.sqrt(n * variance) * rng.normal(), 0.0)
            else:
                begin = max(int(np.searchsorted(total, before, side="right")) - 1, 0)
                for _ in range(int(n)):
                    x = _inverse(before + uniform(state) * expected, first, step, rate, total, begin)
                    label[b] += math.exp(x * LN10)
            number += n
        before, before_first, before_second = upto, upto_first, upto_second
    return number


@njit(cache=True, nogil=True, error_model="numpy")
def _land_singles(
    rng: np.random.Generator,
    state: NDArray[np.uint64],
    source: Source,
    n: int,
    spectrum: NDArray[np.float64],
    counts: NDArray[np.int32],
) -> int:  # pragma: no cover - compiled
    """Put n photons, each of a source of its own inside the region; return how many land in it."""
    chances, eithers = source.landing_chance, source.landing_either
    n_energy, n_cell = chances.shape
    total = 0.0
    for e in range(n_energy):
        total += spectrum[e] * source.mean_exposure[e]
    landed, left = 0, n
    for e in range(n_energy):
        weight = spectrum[e] * source.mean_exposure[e]
        here = left if e == n_energy - 1 else rng.binomial(left, min(max(weight / total, 0.0), 1.0))
        total -= weight
        left -= here
        chance, either = chances[e], eithers[e]
        for _ in range(here):
            i = from_table(state, chance, either)
            if i < n_cell - 1:
                counts[e, i] += 1
                landed += 1
    return landed


@njit(cache=True, nogil=True, error_model="numpy")
def _draw_zone(
    rng: np.random.Generator,
    state: NDArray[np.uint64],
    sky: Sky,
    source: Source,
    zone: int,
    strength: NDArray[np.float64],
    strongest: float,
    first: float,
    step: float,
    rate: NDArray[np.float64],
    label: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:  # pragma: no cover - compiled
    """Pixels and photons of the sources of a zone that are drawn one by one; those of the region go into the label."""
    total = _cumulate(rate, step)
    guide = _guide(total)
    n_candidate = rng.poisson(total[-1] * source.share[zone])
    pixels = np.empty(n_candidate, np.int64)
    photons = np.empty(n_candidate, np.int64)
    n, n_bin = 0, len(label)
    begin, end = source.zones[zone], source.zones[zone + 1]
    chance, either = source.chance[begin:end], source.either[begin:end]
    for _ in range(n_candidate):
        u = uniform(state)
        x = _inverse(u * total[-1], first, step, rate, total, guide[int(u * N_NODE)])
        f = math.exp(x * LN10)
        p = source.pixels[begin + from_table(state, chance, either)]
        k = _photons_of_candidate(rng, state, f * strength[p], f * strongest)
        if k == 0:
            continue
        pixels[n], photons[n] = p, k
        n += 1
        if zone == 0:
            label[min(max(math.floor((x - sky.low) / sky.width) + 1, 0), n_bin - 1)] += f
    return pixels[:n], photons[:n]


@njit(cache=True, nogil=True, error_model="numpy")
def skew_normal_nodes(
    xi: float, omega: float, a: float, cut: float
) -> tuple[float, float, NDArray[np.float64]]:  # pragma: no cover - compiled
    """First node, step and density (N_NODE,) of a skew normal in log-flux that ends at `cut`."""
    top = min(cut, xi + omega * (9.0 + omega * LN10))
    first = min(xi, top) - 9.0 * omega
    step = (top - first) / (N_NODE - 1)
    density = np.empty(N_NODE)
    for i in range(N_NODE):
        density[i] = pdf_scalar(first + step * i, xi, omega, a)
    return first, step, density


@njit(cache=True, nogil=True, error_model="numpy")
def draw_population(
    rng: np.random.Generator,
    sky: Sky,
    source: Source,
    strength: NDArray[np.float64],
    first: float,
    step: float,
    shape: NDArray[np.float64],
    total_flux: float,
    spectrum: NDArray[np.float64],
    counts: NDArray[np.int32],
    label: NDArray[np.float64],
) -> tuple[float, int, int, NDArray[np.float64]]:  # pragma: no cover - compiled
    """Draw one population: add its photons to counts (n_energy, n_pix), its flux to the label (n_bin,).

    ``strength`` (n_patch,) is the expected number of photons per flux, Σ_e s_e ε_e r_e; ``shape`` (N_NODE,) is
    dN/dlog₁₀F, in any unit, at equal steps from ``first``. Returns the number of sources in the region; of photons
    drawn, and of those that landed in it; and the flux (n_zone - 1,) whose single photons from outside are still to be
    drawn, as Poisson emission ``flux[z] · s_e · source.beyond[z]``.
    """
    n_zone = len(source.share)
    beyond = np.zeros(n_zone - 1)
    if total_flux <= 0.0:
        return 0.0, 0, 0, beyond
    state = fast_state(rng)
    flux = np.empty(N_NODE)
    for i in range(N_NODE):
        flux[i] = math.exp((first + step * i) * LN10)
    density = shape * (total_flux / _cumulate(shape * flux, step)[-1])

    strongest = np.zeros(n_zone)
    for z in range(n_zone):
        for p in source.pixels[source.zones[z] : source.zones[z + 1]]:
            strongest[z] = max(strongest[z], strength[p])
    n_class = len(source.weights)
    exposed = np.zeros(n_class)
    mean_exposed = 0.0
    for c in range(n_class):
        for e in range(len(spectrum)):
            exposed[c] += spectrum[e] * source.classes[c, e]
        mean_exposed += source.weights[c] * exposed[c]
    unseen = np.empty(N_NODE)
    single = np.empty(N_NODE)
    for i in range(N_NODE):
        most = flux[i] * strongest[0]
        missed = 0.0
        if most < 1e-6:
            missed = 1.0 - flux[i] * mean_exposed
        elif most < 100.0:
            for c in range(n_class):
                missed += source.weights[c] * math.exp(-flux[i] * exposed[c])
        unseen[i] = density[i] * missed
        single[i] = density[i] * flux[i] * math.exp(-most)

    number = _draw_fluxes(rng, state, sky, first, step, unseen, flux, label)
    n_single = _draw_fluxes(rng, state, sky, first, step, single * mean_exposed, flux, label)
    landed = _land_singles(rng, state, source, int(n_single), spectrum, counts)
    drawn = int(n_single)
    number += n_single
    rate = np.empty(N_NODE)
    for z in range(n_zone):
        for i in range(N_NODE):
            most = flux[i] * strongest[z]
            none = math.exp(-most)
            rate[i] = density[i] * _chance_of_two(most, none)
            single[i] = density[i] * flux[i] * none
        pixels, photons = _draw_zone(rng, state, sky, source, z, strength, strongest[z], first, step, rate, label)
        landed += _emit(state, sky, pixels, photons, spectrum, counts)
        drawn += photons.sum()
        if z == 0:
            number += len(pixels)
        else:
            beyond[z - 1] = _cumulate(single, step)[-1]
    return number, drawn, landed, beyond
