"""All steps of a quickstart after its map is there: what its page is about."""

from typing import Any

from gcesbi.analysis.evaluate import before_recalibration, evaluate
from gcesbi.analysis.predict import predicted_maps
from gcesbi.analysis.quickstart import Step, answers, question
from gcesbi.analysis.run import Run
from gcesbi.analysis.shipped import shipped_answers
from gcesbi.analysis.simulate import simulate
from gcesbi.analysis.start import started_from
from gcesbi.analysis.train import train
from gcesbi.sky import Observation

__all__ = ["find"]


def find(
    run: Run, observation: Observation, step: Step, *, observed: bool, workers: int = 1, progress: bool = False
) -> dict[str, Any]:
    """What is found, by name: see :class:`gcesbi.report.quickstart.QuickstartResult`.

    Parameters
    ----------
    run : Run
        New, or one that was stopped: it goes on.
    observation : Observation
    step : callable
        Around each step by its name.
    observed : bool
        The map is no mock: the gate is asked about it, whatever it costs.
    workers : int
        Threads that simulate.
    progress : bool
        Show progress bars.
    """
    with step("Simulate maps", own_bar=True):
        simulate(run, workers, progress, backend="threads")  # a short job, with the model at hand
    with step("Train the networks", own_bar=True):
        histories = train(run, progress)
    with step("Judge them on held-out maps"):
        evaluation, before = evaluate(run), before_recalibration(run)
    posteriors, fit, odds = answers(run, observation, step, progress)
    fitted, goodness, gate = question(run, observation, step, workers, fit, always=observed)
    with step("Predict maps from what was found"):
        predicted = predicted_maps(run, observation, posteriors)
    if observed:
        with step("Ask networks of other skies"):
            posteriors |= shipped_answers(run, observation)
    return {
        "posteriors": posteriors,
        "odds": odds,
        "fit": fitted,
        "goodness": goodness,
        "gate": gate,
        "predicted": predicted,
        "evaluation": evaluation,
        "before": before,
        "histories": histories,
        "started": started_from(run, histories),
    }
