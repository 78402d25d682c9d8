"""The examples of docs/validation.md run, and tell what the text says."""

import re
from pathlib import Path

CODE = re.findall(
    r"```python\n(.*?)```", (Path(__file__).resolve().parents[1] / "docs/validation.md").read_text(), flags=re.DOTALL
)


def test_five_lines_give_a_verdict(capsys):
    assert len([line for line in CODE[0].splitlines() if line.strip()]) == 5
    exec(compile(CODE[0], "docs/validation.md", "exec"), {})
    assert capsys.readouterr().out.startswith("Calibrated: errors are 1.0")


def test_guessing_a_uniform_number_is_calibrated_and_not_sharp(capsys):
    exec(compile(CODE[1], "docs/validation.md", "exec"), {})
    coverage, judgement, width, skill = capsys.readouterr().out.splitlines()
    shares = [float(share) for share in re.findall(r"\d\.\d*", coverage)]
    assert abs(shares[0] - 0.5) < 4 * 0.5 / 4000**0.5
    assert abs(shares[1] - 0.9) < 4 * 0.3 / 4000**0.5
    assert judgement == "calibrated"
    assert abs(float(width.rsplit(" ", 1)[1]) - 1) < 0.02
    assert abs(float(skill.split()[1])) < 0.01
