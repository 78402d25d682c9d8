"""Page of an inference: what trained networks say of one map, and whether they may be asked about it."""

from collections.abc import Mapping
from typing import Any

from gcesbi.estimators import PoissonFractionPosterior
from gcesbi.posterior import JointPosterior, Posterior
from gcesbi.report.answers import answer, answer_lines, headline
from gcesbi.report.html import Report, Section, TableBlock
from gcesbi.report.sections import source_count_section, spectra_section, subject_spectrum
from gcesbi.report.tables import methods_table, posterior_figures, spectra_table
from gcesbi.report.validation import gate_section
from gcesbi.report.words import label
from gcesbi.simulation import SkyModel
from gcesbi.validation.misspecification import GateVerdict

__all__ = ["inference_figures", "inference_report", "inference_verdict", "statements"]


def statements(networks: Posterior) -> tuple[str, ...]:
    """Sentences that parts of a posterior say of themselves, as of the share of the excess that may be smooth."""
    parts = networks.parts if isinstance(networks, JointPosterior) else ()
    told = ((p.estimator.name, p.statement()) for p in parts if isinstance(p, PoissonFractionPosterior))
    return tuple(each.replace(f"share of {name}", f"share of {label(name)}") for name, each in told)


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
    spectra = spectra_section(model, posteriors)
    if model.n_energy > 1:
        spectra = Section(spectra.title, spectra.text, (*spectra.blocks, spectra_table(networks)))
    counts = (source_count_section(model, posteriors),) if "scd_cdf" in networks.names else ()
    return Report(
        title="What do the networks say of this map?",
        subtitle=subtitle,
        verdict=inference_verdict(model, posteriors, verdict),
        mood="good" if verdict.accepted else "bad",
        summary=methods_table(model, posteriors) if summary is None else summary,
        sections=(*counts, subject_spectrum(model, posteriors, None), spectra, gate_section(verdict)),
        data=data,
    )


def inference_verdict(model: SkyModel, posteriors: Mapping[str, Posterior], verdict: GateVerdict) -> str:
    """A refusal if there is one; whether sources or smooth emission; whether the model explains the map."""
    if verdict.accepted:
        found = {name: answer(model, posterior) for name, posterior in posteriors.items()}
        return "\n".join(
            (headline(model, found), answer_lines(found), str(verdict), *statements(posteriors["networks"]))
        )
    return f"REFUSED. {verdict}"
