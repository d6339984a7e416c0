"""Every loss finds the parameters of data drawn from its own distribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from countae import likelihoods
from countae.likelihoods._base import GeneMoments

N = 6_000
FEWER = {"poisson_lognormal": 2_000, "beta_binomial": 2_000}  # slow ones; errors are √3 larger
GENES = ([40.0, 100.0, 300.0], [5.0, 10.0, 20.0], [0.2, 0.4, 0.1])  # mean, θ, π
# Four standard errors of the worst gene: of log θ about 0.03, of a logit 1/√(N p (1−p)) = 0.043,
# of a mean or a location, as a share, below 0.005; cutting at zero moves a scale by about 1 %.
# Depth, log-normal with σ = 0.3, is all that tells a slope of extra zeros: 1/(0.3 √(N π (1−π))).
TOLERANCE = {
    "log_mean": 0.02, "location": 0.02, "log_location": 0.02, "log_inverse_dispersion": 0.12,
    "log_scale": 0.06, "zero_logit": 0.17, "prob_zero_logit": 0.17, "share_logit": 0.02,
    "log_concentration": 0.12, "zero_slope": 0.57, "zero_intercept": 0.57 * np.log(340),
    "log_weight": 0.02,
}  # fmt: skip
GIVEN = {"weighted_mse": {"log_weight"}}  # not learnt, beside fixed heads


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
    n = FEWER.get(name, N)
    size = torch.as_tensor(rng.lognormal(0, 0.3, (n, 1)))
    made = family.constrain(truth, size)
    counts = family.sample(rng, **{key: value.expand(n, 3) for key, value in made.items()})

    given = GIVEN.get(name, set()) | set(family.fixed_heads)
    apart = torch.tensor([0.5, 0.4, 0.6], dtype=torch.float64)  # a composition knows no level

    def far_off(head, value):
        if head == "location":
            value = 1.3 * value
        else:
            value = value + apart * (0.5 if head == "log_location" else 1.0)
        return value.clone().requires_grad_()

    raw = {h: value if h in given else far_off(h, value) for h, value in truth.items()}
    # locations move in shares of themselves, as the others do on their logarithmic scales
    step = {"location": 0.15 * truth["location"].mean().item() if "location" in truth else 0.0}
    optimiser = torch.optim.Adam(
        [
            {"params": [value], "lr": step.get(head, 0.05)}
            for head, value in raw.items()
            if head not in given
        ]
    )
    decay = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.985)
    for _ in range(320):
        optimiser.zero_grad()
        family.loss(counts, **family.constrain(raw, size)).mean(dim=0).sum().backward()
        optimiser.step()
        decay.step()
    with torch.no_grad():
        found = raw | family.calibrate(counts, family.constrain(raw, size))
        if name == "hurdle_nb_focal":  # not proper, but it knows the way back
            found = family.variants(found)["recalibrated"]
    for head, value in truth.items():
        if name == "multinomial" and head == "log_weight":
            found[head] = found[head] - (found[head] - value).mean()
        if head in given:
            continue
        gap = found[head].detach() - value
        gap = gap / value if head == "location" else gap
        assert gap.abs().max() <= TOLERANCE[head] * (N / n) ** 0.5, (head, gap)
