"""What is found of one map, by any number of methods: its numbers, and the page that says so."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from gcesbi.posterior import Posterior
from gcesbi.report.answers import Answer, answer, answer_lines, headline, true_answer
from gcesbi.report.explained import Explained
from gcesbi.report.html import Mood, Report, Section, TableBlock
from gcesbi.report.misses import misses_section
from gcesbi.report.sections import joint_section, source_count_section, spectra_section, subject_spectrum
from gcesbi.report.tables import methods_table, posterior_figures, spectra_table
from gcesbi.report.words import label
from gcesbi.simulation import SkyModel

__all__ = ["Findings"]


@dataclass(frozen=True)
class Findings:
    """What every method says of one map.

    Parameters
    ----------
    model : SkyModel
    posteriors : mapping of str to Posterior
        By method.
    explained : Explained
        The map, and what explains it.
    truth : Posterior or None
        What is true of the map, if it is a mock.
    priors : mapping of str to str, optional
        Under which each ran: a row of the table.
    odds : mapping of str to (float, float)
        ln of the Bayes factor for sources in the subject against none, and its error, by methods that know it.
    """

    model: SkyModel
    posteriors: Mapping[str, Posterior]
    explained: Explained
    truth: Posterior | None = None
    priors: Mapping[str, str] | None = None
    odds: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @cached_property
    def table(self) -> TableBlock:
        """All methods side by side."""
        return methods_table(self.model, self.posteriors, self.truth, self.priors)

    @cached_property
    def tables(self) -> dict[str, TableBlock]:
        """For the terminal, by title."""
        found = {"Methods side by side": self.table}
        networks = self.posteriors.get("networks")
        if self.model.n_energy > 1 and networks is not None and "spectrum" in networks.names:
            found["E² dN/dE [GeV / cm² / s]"] = spectra_table(networks)
        return found

    @cached_property
    def answers(self) -> dict[str, Answer]:
        """What each method says; all of them not to be trusted where the gate refuses the map."""
        found = {name: answer(self.model, each, self.odds.get(name)) for name, each in self.posteriors.items()}
        if not self.explained.refused:
            return found
        return {name: Answer("not to be trusted", each.reason) for name, each in found.items()}

    @cached_property
    def verdict(self) -> str:
        """The answer first, or why there is none; then what explains the map, and what to trust."""
        refused, truth = self.explained.refused, self.truth
        told = (
            f"REFUSED. {refused}" if refused else "",
            headline(self.model, self.answers),
            answer_lines(self.answers),
            "" if truth is None else true_answer(self.model, truth),
            str(self.explained),
            self._told_of_trust(),
        )
        return "\n".join(filter(None, told))

    def _told_of_trust(self) -> str:
        """What to trust, in sentences, where that was asked."""
        return ""

    def _trust(self) -> Section | None:
        """What to trust, in a table, where that was asked."""
        return None

    @property
    def mood(self) -> Mood:
        """Colour of the verdict; it repeats what the words say."""
        return "bad" if self.explained.refused else "neutral" if self.explained.gate is None else "good"

    def marked(self, figures: dict[str, Any]) -> dict[str, Any]:
        """Numbers to be written, which begin with why the map is refused if it is."""
        return ({"refused": self.explained.refused} if self.explained.refused else {}) | figures

    def figures(self) -> dict[str, Any]:
        """All numbers, ready for JSON; those of each posterior say too whether the map is refused."""
        each = {name: self.marked(posterior_figures(posterior)) for name, posterior in self.posteriors.items()}
        return self.marked({"posteriors": each} | self.explained.to_dict(self.model.point_sources))

    def sections(self) -> tuple[Section | None, ...]:
        """What was found; of an observed map what explains it comes first, of a mock last."""
        asked = self.model, self.posteriors, self.truth
        checks = self.explained.sections(tuple(self.posteriors))
        spectra = spectra_section(*asked)
        return (
            *(checks if self.truth is None else ()),
            self._trust(),
            source_count_section(*asked),
            subject_spectrum(*asked),
            joint_section(*asked),
            Section(spectra.title, *spectra.parts, *tuple(self.tables.values())[1:]),
            *(() if self.truth is None else (*checks, misses_section(self.model, self.posteriors, self.truth))),
        )

    def report(self, subtitle: str = "", data: Mapping[str, Any] | None = None) -> Report:
        """The page, with numbers to download."""
        return Report(
            title=f"What is the {label(self.model.subject)} made of?",
            subtitle=subtitle,
            verdict=self.verdict,
            mood=self.mood,
            summary=self.table,
            sections=self.sections(),
            data=data,
        )
