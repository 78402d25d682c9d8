"""What tables of quoted numbers share: their columns, their form in Markdown, where their runs come from."""

from collections.abc import Iterable, Mapping, Sequence

__all__ = ["COLUMNS", "markdown_table", "origins"]

COLUMNS = ("quantity", "paper", "ours", "on", "why it may differ")


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def origins(plans: Iterable[Mapping[str, str]]) -> str:
    """Commits, days and machines of runs, from their ``plan.json``."""
    plans = list(plans)
    keys = ("commit", "date", "machine")
    told = {key: ", ".join(dict.fromkeys(plan.get(key, "unknown") for plan in plans)) for key in keys}
    return f"at commit {told['commit']}, {told['date']}, on {told['machine']}"
