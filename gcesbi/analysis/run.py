"""The workflow in Python: a run folder with the steps of an analysis as methods.

::

    run = gcesbi.Run.create("runs/a", "quick")
    run.simulate()
    run.train()
    answer = run.infer(observation)
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from gcesbi.analysis import evaluate, fit, infer, infer_image, rounds, simulate, train, train_images
from gcesbi.analysis.folder import RunFolder
from gcesbi.baselines import NptfPosterior
from gcesbi.estimators import TrainingHistory
from gcesbi.sky import Observation

__all__ = ["Run"]

Answer: TypeAlias = infer.JointPosterior | infer_image.ImageAnswer
Judgement: TypeAlias = evaluate.Evaluation | dict[str, Any]


class Run(RunFolder):
    """A run folder and what is done in it; the kind of its sky decides how.

    Make one by :meth:`create`, from a preset or from settings, or :meth:`open` one that exists.
    """

    def simulate(self, workers: int = 1, progress: bool = False, **how: Any) -> tuple[str, ...]:
        """Draw the maps that the settings ask for: :func:`gcesbi.analysis.simulate.simulate`."""
        return simulate.simulate(self, workers, progress, **how)

    def train(self, only: Sequence[str] | None = None, progress: bool = False) -> dict[str, TrainingHistory]:
        """Train the networks: :func:`gcesbi.analysis.train.train`, or `train_images` of a run on images."""
        step = train_images.train_images if self.settings.of_images else train.train
        return step(self, only=only, progress=progress)

    def infer(self, observation: Observation, *, force: bool = False) -> Answer:
        """Ask the networks: :func:`gcesbi.analysis.infer.infer`, or `infer_image` about an image."""
        if self.settings.of_images:
            return infer_image.infer_image(self, observation)
        return infer.infer(self, observation, force=force)

    def infer_in_rounds(self, observation: Observation, n: int, **how: Any) -> list[rounds.Round]:
        """Ask the networks, and train them on maps like it: :func:`gcesbi.analysis.rounds.infer_in_rounds`."""
        return rounds.infer_in_rounds(self, observation, n, **how)

    def evaluate(self) -> Judgement:
        """Judge the networks on held-out maps: :func:`gcesbi.analysis.evaluate.evaluate`, or `evaluate_images`."""
        return evaluate.evaluate_images(self) if self.settings.of_images else evaluate.evaluate(self)

    def fit_nptf(
        self, observation: Observation, progress: bool = False, checkpoint: Path | None = None
    ) -> NptfPosterior:
        """Sample the NPTF's posterior, by the run's settings and seed: :func:`gcesbi.analysis.fit.fit_nptf`."""
        return fit.fit_nptf(self.model, observation, self.settings.nptf, self.settings.seed, progress, checkpoint)
