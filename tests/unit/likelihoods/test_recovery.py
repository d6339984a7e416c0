"""Every loss finds the parameters of data drawn from its own distribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from countae import likelihoods
from countae.likelihoods._base import GeneMoments

N = 6_000
GENES = ([40.0, 100.0, 300.0], [5.0, 10.0, 20.0], [0.2, 0.4, 0.1])  # mean, θ, π
# Four standard errors of the worst gene: of log θ about 0.03, of a logit 1/√(N p (1−p)) = 0.043,
# of a mean or a location, as a share, below 0.005; cutting at zero moves a scale by about 1 %.
TOLERANCE = {
    "log_mean": 0.02, "location": 0.02, "log_location": 0.02, "log_inverse_dispersion": 0.12,
    "log_scale": 0.06, "zero_logit": 0.17, "prob_zero_logit": 0.17, "log_weight": 0.0,
}  # fmt: skip


@pytest.mark.parametrize("name", likelihoods.names())
def test_finds_the_parameters_of_its_own_data(name):
    """Oracle: the heads behind 6,000 cells × 3 genes; Adam on ``loss`` from heads that are far
    off, then ``calibrate``. Scales are a third of the start's, so that little is cut at zero.
    """
    family = likelihoods.get(name)()
    mean, theta, zero = (torch.tensor(row, dtype=torch.float64) for row in GENES)
    truth = family.start(GeneMoments(mean, torch.log1p(mean), theta, zero))
    if "log_scale" in truth:
        truth["log_scale"] = truth["log_scale"] - 1.0
    rng = np.random.default_rng(5)
    size = torch.as_tensor(rng.lognormal(0, 0.3, (N, 1)))
    made = family.constrain(truth, size)
    counts = family.sample(rng, **{key: value.expand(N, 3) for key, value in made.items()})

    away = {"log_weight": 0.0, "log_location": 0.25}

    def far_off(head, value):
        value = 1.3 * value if head == "location" else value + away.get(head, 0.5)
        return value.clone().requires_grad_()

    raw = {head: far_off(head, value) for head, value in truth.items()}
    # locations move in shares of themselves, as the others do on their logarithmic scales
    step = {"location": 0.15 * truth["location"].mean().item() if "location" in truth else 0.0}
    optimiser = torch.optim.Adam(
        [{"params": [value], "lr": step.get(head, 0.05)} for head, value in raw.items()]
    )
    decay = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.99)
    for _ in range(500):
        optimiser.zero_grad()
        family.loss(counts, **family.constrain(raw, size)).mean(dim=0).sum().backward()
        optimiser.step()
        decay.step()
    with torch.no_grad():
        found = raw | family.calibrate(counts, family.constrain(raw, size))
    for head, value in truth.items():
        gap = found[head].detach() - value
        gap = gap / value if head == "location" else gap
        assert gap.abs().max() <= TOLERANCE[head], (head, gap)
