"""The dtype in which a formula without a form for float32 is computed."""

from __future__ import annotations

import torch
from torch import Tensor


def widened(*values: Tensor) -> list[Tensor]:
    """The same as float64, or as they are on a device that has no float64 (Apple's MPS)."""
    return [value if value.device.type == "mps" else value.to(torch.float64) for value in values]
