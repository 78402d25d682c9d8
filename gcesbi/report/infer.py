"""Page of an inference: what trained networks say of one map, and whether they may be asked about it."""

from collections.abc import Mapping
from typing import Any

from gcesbi.posterior import Posterior
from gcesbi.report.answers import answers_of, title, verdict_of
from gcesbi.report.explained import Explained
from gcesbi.report.html import Report, Section, TableBlock
from gcesbi.report.sections import source_count_section, spectra_section, subject_spectrum
from gcesbi.report.tables import methods_table, posterior_figures, spectra_table
from gcesbi.simulation import SkyModel

__all__ = ["inference_figures", "inference_report", "inference_tables"]


def inference_figures(model: SkyModel, posteriors: Mapping[str, Posterior], explained: Explained) -> dict[str, Any]:
    """All numbers of an inference, ready for JSON; those of a map that the gate turns away say so."""
    refused = {"refused": explained.refused} if explained.refused else {}
    figures = {name: refused | posterior_figures(posterior) for name, posterior in posteriors.items()}
    return refused | {"posteriors": figures} | explained.to_dict(model.point_sources)


def inference_tables(model: SkyModel, posteriors: Mapping[str, Posterior]) -> dict[str, TableBlock]:
    """Tables for the terminal, by title; the first is the page's summary."""
    found = {"Methods side by side": methods_table(model, posteriors)}
    if model.n_energy > 1:
        found["E² dN/dE [GeV / cm² / s]"] = spectra_table(posteriors["networks"])
    return found


def inference_report(
    model: SkyModel,
    posteriors: Mapping[str, Posterior],
    explained: Explained,
    summary: TableBlock,
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
    explained : Explained
        Whether the model could have produced the map.
    summary : TableBlock
        Of the posteriors.
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
    answers = answers_of(model, posteriors, explained.refused)
    return Report(
        title=title(model),
        subtitle=subtitle,
        verdict=verdict_of(model, answers, explained.refused, str(explained)),
        mood="bad" if explained.refused else "good",
        summary=summary,
        sections=(
            *explained.sections(tuple(posteriors)),
            *counts,
            subject_spectrum(model, posteriors, None),
            spectra,
        ),
        data=data,
    )
