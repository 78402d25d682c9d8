"""Page of an inference: what trained networks say of one map, and whether they may be asked about it."""

from collections.abc import Mapping
from typing import Any

from gcesbi.estimators import PoissonFractionPosterior
from gcesbi.posterior import JointPosterior, Posterior
from gcesbi.report.html import Report, Section, TableBlock
from gcesbi.report.sections import source_count_section, spectra_section
from gcesbi.report.tables import methods_table, posterior_figures, spectra_table
from gcesbi.simulation import SkyModel
from gcesbi.validation.misspecification import GateVerdict

__all__ = ["gate_section", "inference_figures", "inference_report", "statements"]


def statements(networks: Posterior) -> tuple[str, ...]:
    """Sentences that parts of a posterior say of themselves, as of the share of the excess that may be smooth."""
    parts = networks.parts if isinstance(networks, JointPosterior) else ()
    return tuple(part.statement() for part in parts if isinstance(part, PoissonFractionPosterior))


def inference_figures(posteriors: Mapping[str, Posterior], verdict: GateVerdict) -> dict[str, Any]:
    """All numbers of an inference, ready for JSON; those of a map that the gate turns away say so."""
    refused = {} if verdict.accepted else {"refused": str(verdict)}
    figures = {name: refused | posterior_figures(posterior) for name, posterior in posteriors.items()}
    return {"posteriors": figures, "gate": verdict.to_dict()}


def inference_report(
    model: SkyModel,
    posteriors: Mapping[str, Posterior],
    verdict: GateVerdict,
    summary: TableBlock | None = None,
    *,
    subtitle: str = "",
    data: Mapping[str, Any] | None = None,
) -> Report:
    """The page.

    Parameters
    ----------
    model : SkyModel
        That the networks were trained for.
    posteriors : mapping of str to Posterior
        By method; one is that of the ``networks``, neural posteriors may stand beside.
    verdict : GateVerdict
        Whether the model could have produced the map.
    summary : TableBlock, optional
        Of the posteriors, where it is at hand: :func:`gcesbi.report.tables.methods_table`.
    subtitle : str
        Which map, which run.
    data : mapping, optional
        Numbers to download.
    """
    networks = posteriors["networks"]
    others = {name: each for name, each in posteriors.items() if name != "networks"}
    spectra = spectra_section(model, posteriors)
    if model.n_energy > 1:
        spectra = Section(spectra.title, spectra.text, (*spectra.blocks, spectra_table(networks)))
    counts = (source_count_section(model, networks, others),) if "scd_cdf" in networks.names else ()
    return Report(
        title="What do the networks say of this map?",
        subtitle=subtitle,
        verdict=" ".join((str(verdict), *statements(networks))),
        mood="good" if verdict.accepted else "bad",
        summary=methods_table(model, posteriors) if summary is None else summary,
        sections=(spectra, *counts, gate_section(verdict)),
        data=data,
    )


def gate_section(verdict: GateVerdict) -> Section:
    """The gate's statistics of a map."""
    rows = sorted(zip(verdict.names, verdict.values, verdict.z, verdict.p_values, strict=True), key=lambda row: row[3])
    table = TableBlock(
        ("statistic", "value", "z", "p"),
        tuple((name, f"{value:.3g}", f"{z:+.1f}", f"{p:.2g}") for name, value, z, p in rows),
        "Each statistic of the map beside those of maps of the model that are like it, the most unusual first; z in "
        "units of their scatter, p by itself, before the number of statistics is allowed for.",
    )
    return Section("Could the model have produced the map?", str(verdict), (table,))
