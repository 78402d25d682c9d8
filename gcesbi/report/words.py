"""What pages call the templates of the built-in sky; those of other skies have their users' own words."""

__all__ = ["label"]

_WORDS = {
    "pi": "π⁰ + bremsstrahlung",
    "ic": "inverse Compton",
    "iso": "isotropic",
    "bub": "Fermi bubbles",
    "gce": "excess",
}


def label(name: str) -> str:
    """What a page calls a template, in words, tables and figures."""
    return _WORDS.get(name, name)
