"""Tables in Markdown and figures of what `energies.py` left in a folder.

    python benchmarks/energies_page.py DIR [--figures docs/figures] [--beside OTHER]

Widths are half of the central 68 % of a posterior. Ratios of widths are those of their means over maps; their errors
and those of means are the bootstrap's over maps; coverage has binomial errors, p of ranks is by Kolmogorov and Smirnov.
With ``--beside`` posteriors of the same maps in another folder, by another sampler, are compared with those of DIR.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
from energies import KINDS, LEVELS, QUANTITIES, moments, sky
from scipy.stats import kstest

mpl.use("Agg")
import matplotlib.pyplot as plt

SKIES = {"law": "without PSF", "psf": "with PSF"}
EXCESS = range(3)
COLOURS = dict(zip(KINDS, ("C0", "C1", "C2"), strict=True))


def load(folder, prefix, among=None):
    """By kind and key, arrays whose first axis are maps, of those alone that another folder has too."""
    paths = (path for path in sorted(folder.glob(f"{prefix}-*.npz")) if among is None or (among / path.name).exists())
    files = [np.load(path) for path in paths]
    keys = ("truth", "draws", "trust", "ess", "seconds")
    return {kind: {key: np.array([file[f"{kind}/{key}"] for file in files]) for key in keys} for kind in KINDS}


def trusted(found):
    """Maps of whose every posterior the largest weights have a law of shape below 0.7: a choice by data alone."""
    good = np.all([each["trust"] < 0.7 for each in found.values()], axis=0)
    return {kind: {key: values[good] for key, values in each.items()} for kind, each in found.items()}


def width(draws, axis=1):
    low, high = np.quantile(draws, [0.16, 0.84], axis=axis)
    return (high - low) / 2


def told(values, statistic=np.median, digits=2, repeats=400):
    """A statistic of maps and its bootstrap error, as text."""
    rng, n = np.random.default_rng(0), len(values)
    drawn = [statistic(values[rng.integers(n, size=n)]) for _ in range(repeats)]
    return f"{statistic(values):.{digits}f} ± {np.std(drawn):.{digits}f}"


def ratio(top, bottom):
    """Of means over maps, as text."""
    return told(np.stack([top, bottom], axis=1), lambda each: each[:, 0].mean() / each[:, 1].mean())


def levels(found):
    """Rank of the truth in each posterior, in (0, 1), among equals (a share of 0 or 1) by lot: (n_map, n_quantity)."""
    draws, truth = np.round(found["draws"], 6), np.round(found["truth"].astype(np.float32), 6)[:, None]
    equal = np.sum(draws == truth, axis=1)
    before = np.sum(draws < truth, axis=1) + np.random.default_rng(0).integers(equal + 1)
    return (before + 0.5) / (draws.shape[1] + 1)


def covered(rank, level):
    inside = np.abs(rank - 0.5) <= level / 2
    share = inside.mean()
    return f"{share:.2f} ± {np.sqrt(level * (1 - level) / len(rank)):.2f}"


def table(head, rows):
    print("\n| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def show_widths(found, seen):
    widths = {kind: width(found[kind]["draws"]) for kind in KINDS}
    rows = []
    for q, name in enumerate(QUANTITIES):
        ten, summed, one = (widths[kind][:, q] for kind in KINDS)
        error = {
            kind: np.abs(np.median(found[kind]["draws"][:, :, q], axis=1) - found[kind]["truth"][:, q])
            for kind in KINDS[:2]
        }
        rows.append(
            [
                name,
                *(f"{w.mean():.3f}" for w in (ten, summed, one)),
                ratio(ten, summed),
                ratio(*(error[kind] for kind in KINDS[:2])),
                ratio(summed, one),
            ]
        )
    print(f"\nWidths, {SKIES[seen]}, {len(ten)} maps")
    table(
        ["", *KINDS, "ten / sum", "error, ten / sum", "sum / one bin"],
        rows,
    )


def show_calibration(found, seen):
    rows = []
    for q, name in enumerate(QUANTITIES):
        for kind in KINDS:
            rank = levels(found[kind])[:, q]
            off = (np.median(found[kind]["draws"][:, :, q], axis=1) - found[kind]["truth"][:, q]) / width(
                found[kind]["draws"]
            )[:, q]
            rows.append(
                [
                    name,
                    kind,
                    covered(rank, 0.68),
                    covered(rank, 0.95),
                    f"{kstest(rank, 'uniform').pvalue:.2f}",
                    told(rank, np.mean),
                    told(np.clip(off, -10, 10), np.mean),
                ]
            )
    print(f"\nCalibration, {SKIES[seen]}")
    table(["", "from", "68 % hold", "95 % hold", "p of ranks", "mean rank", "mean of error / width"], rows)


def show_brightness(found, seen):
    predicted = np.median(found["their sum"]["draws"][:, :, 0], axis=1)
    edges = np.quantile(predicted, [0, 1 / 3, 2 / 3, 1])
    rows = []
    for low, high in pairwise(edges):
        chosen = (predicted >= low) & (predicted <= high)
        for q in EXCESS:
            ten, summed = (width(found[kind]["draws"][chosen])[:, q] for kind in KINDS[:2])
            rank = levels(found[KINDS[0]])[chosen, q]
            rows.append(
                [
                    f"{low:.1f} to {high:.1f}",
                    f"{chosen.sum()}",
                    QUANTITIES[q],
                    f"{ten.mean():.3f}",
                    f"{summed.mean():.3f}",
                    ratio(ten, summed),
                    covered(rank, 0.68),
                    covered(rank, 0.95),
                ]
            )
    print(f"\nBy predicted brightness (median mean log F of the excess from the sum), {SKIES[seen]}")
    table(["predicted", "maps", "", "ten bins", "their sum", "ten / sum", "68 % hold", "95 % hold"], rows)


def show_cost(found, seen):
    for kind, each in found.items():
        low, middle, high = np.quantile(each["ess"], [0.05, 0.5, 0.95])
        print(
            f"{SKIES[seen]}, {kind}: {np.median(each['seconds']):.1f} s of the processor, ESS {middle:.0f} "
            f"({low:.0f} to {high:.0f}), Pareto k above 0.7 in {np.mean(each['trust'] > 0.7):.0%} of maps"
        )


def show_beside(folder, other, seen):
    """How far posteriors of one folder are from those of another, of maps that both have."""
    found, beside = load(folder, seen, other), load(other, seen, folder)
    if not len(found[KINDS[0]]["draws"]):
        return
    rows = []
    for q, name in enumerate(QUANTITIES):
        for kind in KINDS:
            one, two = (each[kind]["draws"][:, :, q] for each in (found, beside))
            wide = np.maximum(width(one), width(two))
            away = (np.median(one, axis=1) - np.median(two, axis=1)) / np.maximum(wide, 1e-3)
            rows.append([name, kind, ratio(width(one), width(two)), told(away, np.mean), told(np.abs(away), np.mean)])
    print(f"\n{folder} beside {other}, {SKIES[seen]}, {len(away)} maps; medians differ in the wider's widths")
    table(["", "from", "ratio of widths", "medians differ by", "either way"], rows)


def draw_widths(skies, out):
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.8), layout="constrained")
    for axis, q in zip(axes, EXCESS, strict=True):
        top = 0.0
        for seen, found in skies.items():
            ten, summed = (width(found[kind]["draws"])[:, q] for kind in KINDS[:2])
            axis.plot(summed, ten, ".", label=SKIES[seen], alpha=0.7)
            top = max(top, ten.max(), summed.max())
        axis.plot([0, top], [0, top], color="0.5", lw=0.8)
        axis.set(title=QUANTITIES[q], xlabel="posterior width from the sum", ylabel="from ten bins", aspect="equal")
    axes[0].legend()
    figure.savefig(out, dpi=110)


def draw_ranks(skies, out):
    figure, axes = plt.subplots(
        len(skies), 3, figsize=(11, 3.3 * len(skies)), layout="constrained", squeeze=False, sharey=True
    )
    for row, (seen, found) in zip(axes, skies.items(), strict=True):
        for axis, q in zip(row, EXCESS, strict=True):
            for kind in KINDS:
                rank = np.sort(levels(found[kind])[:, q])
                axis.step(rank, (np.arange(len(rank)) + 0.5) / len(rank) - rank, color=COLOURS[kind], label=kind)
            u = np.linspace(0, 1, 100)
            band = 1.36 / np.sqrt(len(rank)) + 0 * u  # of Kolmogorov and Smirnov, 95 %
            axis.fill_between(u, -band, band, color="0.9", zorder=0)
            axis.axhline(0, color="0.5", lw=0.8)
            axis.set(title=f"{QUANTITIES[q]}, {SKIES[seen]}", xlabel="rank of the truth")
        row[0].set_ylabel("distribution of ranks − uniform")
    axes[0, 0].legend()
    figure.savefig(out, dpi=110)


def draw_large(kept, model, out):
    """The joint posterior of the large map: source counts, spectra, and how they go together."""
    log_flux, energy = np.asarray(model.coordinates.flux_bin), np.sqrt(kept["edges"][1:] * kept["edges"][:-1])
    figure, axes = plt.subplots(2, 3, figsize=(12, 7), layout="constrained")
    for axis, row, name in zip(axes[0], range(2), ("excess", "disk"), strict=False):
        for low, high, alpha in ((0.025, 0.975, 0.25), (0.16, 0.84, 0.5)):
            band = np.quantile(kept["scd_cdf"][:, row], [low, high], axis=0)
            axis.fill_between(log_flux, *band, color="C0", alpha=alpha, lw=0)
        axis.plot(log_flux, kept["truth/scd_cdf"][row], "k--")
        axis.set(title=f"{name}: flux of dimmer sources", xlabel="log10 F [cm$^{-2}$ s$^{-1}$]", ylabel="share")
    gce, disk = model.names.index("gce"), model.names.index("disk")
    for axis, row, name in zip((axes[0, 2], axes[1, 0]), (gce, disk), ("excess", "disk"), strict=True):
        for low, high, alpha in ((0.025, 0.975, 0.25), (0.16, 0.84, 0.5)):
            band = np.quantile(kept["spectrum_fraction"][:, row], [low, high], axis=0)
            axis.fill_between(energy, *band, color="C0", alpha=alpha, lw=0)
        axis.plot(energy, kept["truth/spectrum_fraction"][row], "k--")
        axis.set(title=f"{name}: share of the flux", xlabel="E [GeV]", ylabel="share", xscale="log")
        axis.set_xticks([2, 5, 10, 20], ["2", "5", "10", "20"])
        axis.minorticks_off()
    photon, edges = -np.log10(float(model.exposure.mean())), np.asarray(model.scd_edges)
    mean = moments(kept["scd_cdf"][:, 0], log_flux, edges, photon)
    true = moments(kept["truth/scd_cdf"][None, 0], log_flux, edges, photon)[0]
    axes[1, 1].plot(mean[:, 0], mean[:, 1], ".", ms=3)
    axes[1, 1].plot(*true[:2], "k+", ms=14, mew=2)
    axes[1, 1].set(title="excess", xlabel=QUANTITIES[0], ylabel=QUANTITIES[1])
    share = kept["flux_fraction"]
    axes[1, 2].plot(share[:, gce], share[:, disk], ".", ms=3)
    axes[1, 2].plot(*kept["truth/flux_fraction"][[gce, disk]], "k+", ms=14, mew=2)
    axes[1, 2].set(title="shares of the flux", xlabel="excess", ylabel="disk")
    figure.savefig(out, dpi=110)


def show_networks(folder):
    """Source counts by networks and by the likelihood of the sum, of the same maps."""
    files = [np.load(path) for path in sorted(folder.glob("network-*.npz"))]
    files = [file for file in files if file["their sum/trust"] < 0.7]
    kinds = {"ten channels": "network, ten channels", "summed": "network, summed", "their sum": "likelihood of the sum"}
    kinds = {key: name for key, name in kinds.items() if all(f"{key}/curves" in file for file in files)}
    found = {
        name: np.array([np.quantile(file[f"{key}/curves"], LEVELS, axis=0) for file in files])
        for key, name in kinds.items()
    }
    print(f"\nThe networks' own sky, {len(files)} maps (Pareto k below 0.7)")
    show_curves(found, np.array([file["truth/curves"] for file in files]), kinds["their sum"])


def show_pairs(folder):
    """Both networks on many maps."""
    found = dict(np.load(folder / "pairs.npz"))
    truth = found.pop("truth")
    print(f"\nThe networks alone, {len(truth)} maps")
    show_curves(found, truth, "summed")


def show_curves(found, truth, against):
    """Quantiles (n_map, n_level, 2, n_bin) of curves beside the truth (n_map, 2, n_bin); all means over bins."""
    rows = []
    for row, of in enumerate(("excess", "disk")):
        spread, error, away = {}, {}, {}
        centre = found[against][:, 2, row]
        for kind, curves in found.items():
            low, middle, high = curves[:, 1:4, row].swapaxes(0, 1)
            spread[kind] = (high - low).mean(axis=1) / 2
            error[kind] = np.abs(middle - truth[:, row]).mean(axis=1)
            away[kind] = np.abs(middle - centre).mean(axis=1)
        for kind, curves in found.items():
            rows.append(
                [
                    f"dN/dF of the {of}",
                    kind,
                    told(spread[kind], np.mean, 4),
                    ratio(spread[kind], spread[against]),
                    told(error[kind], np.mean, 4),
                    ratio(error[kind], error[against]),
                    told(away[kind], np.mean, 4),
                    *(inside(curves[:, :, row], truth[:, row], pair) for pair in ((1, 3), (0, 4))),
                ]
            )
    head = ["", "from", "width", f"width / {against}'s", "error", f"error / {against}'s", f"from {against}'s median"]
    table([*head, "68 % hold", "95 % hold"], rows)


def inside(curves, truth, pair):
    """How often quantiles (n_map, n_level, n_bin) hold the truth, over bins in which it is between 1 and 99 %."""
    low, high = curves[:, pair[0]], curves[:, pair[1]]
    counted = (truth > 0.01) & (truth < 0.99)
    held = ((truth >= low) & (truth <= high) & counted).sum(axis=1)
    number = counted.sum(axis=1)
    picks = np.random.default_rng(0).integers(len(truth), size=(500, len(truth)))
    error = (held[picks].sum(axis=1) / number[picks].sum(axis=1)).std()
    return f"{held.sum() / number.sum():.2f} ± {error:.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--figures", type=Path, default=Path("docs/figures"))
    parser.add_argument("--beside", type=Path)
    given = parser.parse_args()
    if given.beside:
        for seen in SKIES:
            show_beside(given.folder, given.beside, seen)
        return
    skies = {seen: load(given.folder, seen) for seen in SKIES if list(given.folder.glob(f"{seen}-*.npz"))}
    for seen, found in skies.items():
        show_cost(found, seen)
        skies[seen] = found = trusted(found)
        for show in (show_widths, show_calibration, show_brightness):
            show(found, seen)
    if skies:
        draw_widths(skies, given.figures / "energies_widths.png")
        draw_ranks(skies, given.figures / "energies_ranks.png")
    if (given.folder / "large.npz").exists():
        model = sky(10, nside=128, weeks=400, gce_populations=1)
        draw_large(np.load(given.folder / "large.npz"), model, given.figures / "energies_joint.png")
    if list(given.folder.glob("network-*.npz")):
        show_networks(given.folder)
    if (given.folder / "pairs.npz").exists():
        show_pairs(given.folder)


if __name__ == "__main__":
    main()
