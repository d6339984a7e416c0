"""Raw counts: reading, checking the whole matrix, and the object that the rest works with."""

from countae.counts._matrix import CountMatrix, Targets
from countae.counts._read import read_counts

__all__ = ["CountMatrix", "Targets", "read_counts"]
