"""Public data by name: what there is, where it lies, and fetching it. The public door is ``gcesbi.data``.

Examples
--------
>>> from gcesbi import data
>>> data.describe("fermi-573w").size
31459840
>>> data.where("fermi-573w").name
'fermi-573w'
"""

from gcesbi.io.data.fetching import check_known, fetch, located, where
from gcesbi.io.data.registry import DataEntry, DataFile, describe, names

__all__ = ["DataEntry", "DataFile", "check_known", "describe", "fetch", "located", "names", "where"]
