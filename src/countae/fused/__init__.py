"""Training steps on a CPU that compute only what is asked for, equal to the reference's."""

from countae.fused.step import FusedStep

__all__ = ["FusedStep"]
