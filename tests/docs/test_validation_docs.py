"""The examples of docs/howto/validation.md run, and tell what the text says."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CODE = re.findall(
    r"```python\n(.*?)```",
    (Path(__file__).resolve().parents[2] / "docs/howto/validation.md").read_text(),
    flags=re.DOTALL,
)


def test_five_lines_give_a_verdict(capsys):
    assert len([line for line in CODE[0].splitlines() if line.strip()]) == 5
    exec(compile(CODE[0], "docs/howto/validation.md", "exec"), {})
    assert capsys.readouterr().out.startswith("mine: calibrated; bold: over-confident, errors are 1.2")


def test_guessing_a_uniform_number_is_calibrated_and_not_sharp(capsys):
    exec(compile(CODE[1], "docs/howto/validation.md", "exec"), {})
    coverage, judgement, width, skill = capsys.readouterr().out.splitlines()
    shares = [float(share) for share in re.findall(r"\d\.\d*", coverage)]
    assert abs(shares[0] - 0.5) < 4 * 0.5 / 4000**0.5
    assert abs(shares[1] - 0.9) < 4 * 0.3 / 4000**0.5
    assert judgement == "calibrated"
    assert abs(float(width.rsplit(" ", 1)[1]) - 1) < 0.02
    assert abs(float(skill.split()[1])) < 0.01


@dataclass
class Gaussian:
    """A posterior of one map, as far as the example asks."""

    mean: np.ndarray

    def sample(self, n, seed):
        return {"flux_fraction": self.mean + np.sqrt(0.5) * np.random.default_rng(seed).normal(size=(n, 2))}


def test_any_posterior_is_judged_and_two_are_compared(capsys):
    """Truth and data of unit variance each: the posterior is exact, and it is compared with itself, shifted."""
    found = {}
    exec(compile(CODE[2], "docs/howto/validation.md", "exec"), found)
    rng = np.random.default_rng(2)
    truth = rng.normal(size=(150, 2))
    data = truth + rng.normal(size=truth.shape)
    draws = found["judge"]([Gaussian(d / 2) for d in data], truth, data)
    assert capsys.readouterr().out.split() == ["True"] * 3
    assert draws.shape == (199, 150, 2)
    rows, verdict, accuracy = found["compare"](truth, {"one": draws, "other": draws + 1.0})
    assert rows[0] == ("judgement", "calibrated", "over-confident")
    assert "one has the better score" in verdict
    assert accuracy.value > 0.6
