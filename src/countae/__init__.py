"""countae: which loss tells the story of single-cell counts, and the model that does."""

__version__ = "0.1.0"
