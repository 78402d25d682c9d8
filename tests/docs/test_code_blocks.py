"""Code in the documents: Python compiles, TOML parses, commands and their options exist; the first steps run."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from gcesbi.cli.main import app

CHECKOUT = Path(__file__).resolve().parents[2]
DOCUMENTS = [CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md", *sorted(CHECKOUT.glob("docs/**/*.md"))]


def blocks(path, language):
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.DOTALL)


def commands(path):
    """Lines of indented code that call `gcesbi`, and calls in the text; what stands for something else is left in."""
    text = path.read_text(encoding="utf-8")
    lines = re.findall(r"^ {4}(?:\.venv/bin/)?(gcesbi .*)$", text, flags=re.MULTILINE)
    lines += re.findall(r"`(gcesbi [a-z][^`|…]*)`", text)
    return [part.strip() for line in lines for part in line.split("#")[0].split("&&")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_code_is_code_and_commands_exist(document):
    for code in blocks(document, "python"):
        compile(code, str(document), "exec")
    for text in blocks(document, "toml"):
        tomllib.loads(text)
    for line in commands(document):
        missing = unknown(line.replace("...", ""))
        assert not missing, f"{document.name}: {line!r}: {missing}"


def unknown(line):
    """The first word of a command line that the command does not know; None if it knows all."""
    command, (_, *words) = get_command(app), shlex.split(line)
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        name = words.pop(0)
        if name not in command.commands:
            return None if name.isupper() else name
        command = command.commands[name]
    options = {option for each in command.params for option in (*each.opts, *each.secondary_opts)} | {"--help"}
    return next((word for word in words if word.startswith("--") and word.split("=")[0] not in options), None)


def test_the_first_steps_run(capsys):
    (code,) = blocks(CHECKOUT / "docs" / "start.md", "python")
    exec(compile(code, "start.md", "exec"), {})
    assert "'gce'" in capsys.readouterr().out


def test_a_wrong_command_is_seen():
    assert unknown("gcesbi train RUN --onyl spectra") == "--onyl"
    assert unknown("gcesbi trian RUN") == "trian"
    assert unknown("gcesbi data fetch fermi-573w irf") is None
