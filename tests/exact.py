"""Log-probabilities and their slopes in 50 digits, by the textbook's formulas.

Each function takes a count and parameters, mpmath numbers all, and returns log P and its
derivatives in the logarithm of a parameter, or in the parameter itself where that is a logit.
"""

from __future__ import annotations

import mpmath
from mpmath import mpf

DIGITS = 50
HALF = mpf(1) / 2
UNKNOWN_TOTAL = mpf("0.001")  # of the beta-binomial's claim
loggamma, digamma = mpmath.memoize(mpmath.loggamma), mpmath.memoize(mpmath.digamma)


def poisson(x, mu):
    """In log μ."""
    return x * mpmath.log(mu) - mu - loggamma(x + 1), x - mu


def nb(x, mu, theta):
    """In log μ and log θ."""
    n, log_p = x + theta, mpmath.log(theta / (mu + theta))
    value = loggamma(n) - loggamma(theta) - loggamma(x + 1) + theta * log_p
    value += x * mpmath.log(mu / (mu + theta))
    of_theta = theta * (digamma(n) - digamma(theta) + log_p + (mu - x) / (mu + theta))
    return value, (x - mu) * theta / (mu + theta), of_theta


def zero_inflated(x, plain, logit):
    """In what ``plain`` has slopes in, and logit π, by Bayes' rule."""
    value, *slopes = plain
    pi = 1 / (1 + mpmath.exp(-logit))
    own = (1 - pi) * mpmath.exp(value)
    extra = pi if x == 0 else mpf(0)
    share = own / (own + extra)
    return mpmath.log(own + extra), *(share * slope for slope in slopes), 1 - share - pi


def zinb(x, mu, theta, logit):
    """In log μ, log θ and logit π."""
    return zero_inflated(x, nb(x, mu, theta), logit)


def zip_(x, mu, logit):
    """In log μ and logit π."""
    return zero_inflated(x, poisson(x, mu), logit)


def hurdle_nb(x, mu, theta, logit):
    """In log μ, log θ and logit P(0), by the chain rule."""
    zero = 1 / (1 + mpmath.exp(-logit))
    if x == 0:
        return mpmath.log(zero), mpf(0), mpf(0), 1 - zero
    value, *slopes = nb(x, mu, theta)
    at_zero, *of_zero = nb(0, mu, theta)
    positive = -mpmath.expm1(at_zero)
    value += mpmath.log1p(-zero) - mpmath.log(positive)
    odds = mpmath.exp(at_zero) / positive
    return value, *(a + odds * b for a, b in zip(slopes, of_zero, strict=True)), -zero


def poisson_lognormal(x, mu, theta):
    """In log μ and log θ: sums over a grid that is wider and finer than 50 digits need.

    Slopes are expectations of u − m and its square given the count, u = m + r the log rate.
    """
    v = mpmath.log1p(1 / theta)
    m = mpmath.log(mu) - v / 2
    r = max(mpf(0), min(v * (x - mpmath.exp(m)), mpmath.log(x) - m)) if x > 0 else mpf(0)
    for _ in range(200):  # Newton's method for the mode of a concave function
        pull = v * mpmath.exp(m + r)
        step = (r - v * x + pull) / (1 + pull)
        r -= step
        if abs(step) < mpf(10) ** -45 * (1 + abs(r)):
            break

    def log_integrand(at):
        return x * (m + at) - mpmath.exp(m + at) - loggamma(x + 1) - at * at / (2 * v)

    top, width = log_integrand(r), 1 / mpmath.sqrt(mpmath.exp(m + r) + 1 / v)
    ends = []
    for sign in (-1, 1):
        far = width
        while top - log_integrand(r + sign * far) < 100:
            far *= mpf("1.3")
        ends.append(r + sign * far)
    nodes = int((ends[1] - ends[0]) / min(width, HALF) * 4) + 2
    grid = mpmath.linspace(*ends, nodes)
    weights = [mpmath.exp(log_integrand(at) - top) for at in grid]
    total = mpmath.fsum(weights)
    first = mpmath.fsum(w * at for w, at in zip(weights, grid, strict=True)) / total
    second = mpmath.fsum(w * at * at for w, at in zip(weights, grid, strict=True)) / total
    value = top + mpmath.log(total * (grid[1] - grid[0])) - mpmath.log(2 * mpmath.pi * v) / 2
    of_theta = (first / v - (second / v - 1) / v) / 2 / (1 + theta)
    return value, first / v, of_theta


def beta_binomial(x, logit, kappa, n):
    """In logit p and log κ: BB(x; n, κp, κ(1−p)) with a share of NB(np, κp)."""
    p, q = 1 / (1 + mpmath.exp(-logit)), 1 / (1 + mpmath.exp(logit))
    value, of_mean, of_theta = nb(x, n * p, kappa * p)
    unknown = (value + mpmath.log(UNKNOWN_TOTAL), q * (of_mean + of_theta), of_theta, mpf(0))
    if x > n:
        return unknown
    a, b = kappa * p, kappa * q

    def log_beta(u, w):
        return loggamma(u) + loggamma(w) - loggamma(u + w)

    value = log_beta(x + a, n - x + b) - log_beta(a, b) + mpmath.log(1 - UNKNOWN_TOTAL)
    value -= mpmath.log(n + 1) + log_beta(n - x + 1, x + 1)
    hit, miss = digamma(x + a) - digamma(a), digamma(n - x + b) - digamma(b)
    of_kappa = kappa * (p * hit + q * miss - digamma(n + kappa) + digamma(kappa))
    known = (value, p * q * kappa * (hit - miss), of_kappa)
    share = 1 / (1 + mpmath.exp(unknown[0] - value))
    slopes = (share * a + (1 - share) * b for a, b in zip(known[1:], unknown[1:], strict=False))
    return value - mpmath.log(share), *slopes, mpf(0)


def normal_below(z, spread):
    """Φ(z)."""
    return mpmath.erfc(-z / mpmath.sqrt(2)) / 2


def laplace_below(z, spread):
    """Of the Laplace density with scale 1."""
    return mpmath.exp(z) / 2 if z <= 0 else 1 - mpmath.exp(-z) / 2


def huber_below(z, spread):
    """Of exp(−ρ(r)/s²), r = sz and δ = 1, by the integrals of its three pieces."""
    c = 1 / spread
    tail = mpmath.exp(-c * c / 2) / c
    root = mpmath.sqrt(2 * mpmath.pi)
    total = root * mpmath.erf(c / mpmath.sqrt(2)) + 2 * tail
    if z > 0:
        return 1 - huber_below(-z, spread)
    if z < -c:
        return mpmath.exp(c * z + c * c / 2) / c / total
    return (tail + root * (normal_below(z, 1) - normal_below(-c, 1))) / total


def cut(below, x, location, spread, transform):
    """Log of the mass between x ± ½ on a transformed scale, all of it below ½ for x = 0."""
    high = (transform(x + HALF) - location) / spread
    if x == 0:
        return mpmath.log(below(high, spread))
    low = (transform(x - HALF) - location) / spread
    if low > 0:
        low, high = -high, -low
    return mpmath.log(below(high, spread) - below(low, spread))
