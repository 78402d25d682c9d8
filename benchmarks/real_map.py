"""What every method says of the real 573-week map: under one model of the foreground, and under one that nobody knows.

    python benchmarks/real_map.py --out docs/figures/real_map_robust.png [--nptf]

Asks the shipped `robust` networks, also with deviant pixels filled, the Poisson fits of three interstellar models, and
the NPTF under Model O with the networks' kind of priors (minutes). Prints a table in Markdown and draws the
excess' flux and source counts. Needs the data fermi-573w and bulge-templates.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

from gcesbi import SkyModel, read_observation
from gcesbi.analysis.deviant import fill_deviant
from gcesbi.analysis.fit import fit_nptf
from gcesbi.analysis.folder import RunFolder
from gcesbi.analysis.gate import judge
from gcesbi.analysis.infer import infer
from gcesbi.analysis.keeping import package_folder
from gcesbi.analysis.settings import load_settings
from gcesbi.baselines import PoissonFit
from gcesbi.evaluation.profiled_shapes import poisson_posterior
from gcesbi.posterior import PartialPosterior, Posterior
from gcesbi.report.tables import comparison_table

LEVELS = (0.025, 0.16, 0.5, 0.84, 0.975)


def answers(networks: Path, nptf: bool) -> tuple[SkyModel, dict[str, Posterior], dict[str, float]]:
    """Model O, posteriors by method on its templates, and the p values of the gate."""
    seen = read_observation("fermi-573w", mask="3fgl")
    run = RunFolder.open(networks)
    filled, deviant = fill_deviant(run.model, seen)
    nominal = SkyModel.from_folder("fermi-573w", diffuse="O")
    found: dict[str, Posterior] = {}
    p = {}
    for name, each in (("robust networks", seen), (f"robust networks, {len(deviant)} pixels filled", filled)):
        found[name] = PartialPosterior(name, infer(run, each), nominal.coordinates)
        p[name] = judge(run, each).p_value
    for diffuse in ("O", "A", "F"):
        model = SkyModel.from_folder("fermi-573w", diffuse=diffuse)
        fitted = poisson_posterior(PoissonFit(model, seen).run(), model)
        found[f"Poisson fit, Model {diffuse}"] = fitted
    if nptf:
        priors = load_settings("default").nptf.model_copy(update={"priors": "model"})
        found["NPTF, Model O"] = fit_nptf(nominal, seen, priors)
    return nominal, found, p


def draw(model: SkyModel, found: dict[str, Posterior], out: Path) -> None:
    """The excess' share of the flux by every method, and its cumulative source counts by those that know them."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    at = model.names.index("gce")
    for i, posterior in enumerate(found.values()):
        low2, low, middle, high, high2 = 100 * posterior.quantiles("flux_fraction", LEVELS)[:, at]
        left.plot([low2, high2], [i, i], color=f"C{i}", lw=1.2)
        left.plot([low, high], [i, i], color=f"C{i}", lw=4)
        left.plot([middle], [i], "o", color=f"C{i}", mec="white")
    left.set_yticks(range(len(found)), list(found))
    left.invert_yaxis()
    left.set_xlabel("excess, % of the flux (68 %, 95 %)")
    subject = model.point_sources.index("gce")
    for i, (name, posterior) in enumerate(found.items()):
        if "scd_cdf" in posterior.names:
            low, middle, high = posterior.quantiles("scd_cdf", [0.16, 0.5, 0.84])[:, subject]
            right.fill_between(model.bins.edges[1:], low, high, color=f"C{i}", alpha=0.25, lw=0)
            right.plot(model.bins.edges[1:], middle, color=f"C{i}", label=name)
    right.set_xlabel("log₁₀ F [photons / cm² / s]")
    right.set_ylabel("share of the excess' flux from sources below F (68 %)")
    right.legend(loc="lower right", frameon=False)
    figure.savefig(out, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="the shipped ones if not given")
    parser.add_argument("--nptf", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("real_map_robust.png"))
    asked = parser.parse_args()
    model, found, p = answers(asked.run or package_folder("robust"), asked.nptf)
    table = comparison_table(found, model.bins)
    print(" | ".join(("", *table.columns, "")).strip())
    print("|---" * len(table.columns) + "|")
    for row in table.rows:
        print(" | ".join(("", *map(str, row), "")).strip())
    print({name: np.round(each, 4) for name, each in p.items()})
    draw(model, found, asked.out)


if __name__ == "__main__":
    main()
