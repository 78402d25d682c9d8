"""Words for the templates of the built-in sky; those of other skies have their users' own words."""

import re
from dataclasses import replace

from gcesbi.simulation.sky_settings import WORDS
from gcesbi.validation import ConditionalCalibration

__all__ = ["in_words", "label"]


def label(name: str) -> str:
    """What a page calls a template, in words, tables and figures; also one that something is said ``of``."""
    return WORDS.get(name) or re.sub(r"(?<=\bof )\w+", lambda found: WORDS.get(found[0], found[0]), name)


def in_words(found: ConditionalCalibration) -> ConditionalCalibration:
    """Groups of maps under the names that pages give templates."""
    return replace(found, groups=tuple(replace(group, name=label(group.name)) for group in found.groups))
