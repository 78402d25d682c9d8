"""Words for the templates of the built-in sky; those of other skies have their users' own words."""

from gcesbi.simulation.sky_settings import WORDS

__all__ = ["label"]


def label(name: str) -> str:
    """What a page calls a template, in words, tables and figures; also one that something is said ``of``."""
    of, between, template = name.rpartition(" of ")
    return of + between + WORDS.get(template, template)
