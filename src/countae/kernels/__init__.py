"""Numerics under the likelihoods: special functions that keep their precision."""
