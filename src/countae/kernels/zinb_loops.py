"""Loops over cells under the NB and ZINB log-likelihoods, with first and second derivatives.

Every form keeps its digits for θ from 1e-3 to 1e6 and beyond, where a difference of ``lgamma`` or
of ``digamma`` would lose them. All loops stand in this one file because numba's cache is renewed
when the file of a function changes, not when that of one it calls does.
"""

from __future__ import annotations

from math import exp, inf, lgamma, log, log1p

import numpy as np

from countae.kernels.compiled import compiled

DIRECT = 32  # terms of the sums over k that are added one by one
SERIES_TO = 0.05  # below it u − log1p(u) is a series
LARGE = 1e280  # a running product is turned into its logarithm beyond


@compiled
def sort_cells(x, m, zeros, mean, count, beyond):  # type: ignore[no-untyped-def]
    """From (cell, gene) to (gene, cell) with the cells without a count first; see GeneTable."""
    cells, genes = x.shape
    next_zero, next_seen = np.zeros(genes, np.int64), zeros.copy()
    for i in range(cells):
        for g in range(genes):
            if x[i, g] == 0:
                mean[g, next_zero[g]] = m[i, g]
                next_zero[g] += 1
            else:
                mean[g, next_seen[g]] = m[i, g]
                count[g, next_seen[g]] = x[i, g]
                next_seen[g] += 1
                for k in range(int(min(DIRECT, x[i, g]))):
                    beyond[g, k] += 1


@compiled
def _u_minus_log1p(u):  # type: ignore[no-untyped-def]
    """``u - log1p(u)`` for 0 ≤ u < 0.05: r u − 2(r³/3 + r⁵/5 + …) with r = u/(2 + u)."""
    r = u / (2.0 + u)
    p = r * r
    return r * (u - 2.0 * p * (1 / 3 + p * (1 / 5 + p * (1 / 7 + p * (1 / 9 + p / 11)))))


@compiled
def _log_terms(u):  # type: ignore[no-untyped-def]
    """``log1p(u)``, u − log1p(u), h = y − log1p(u), y = u/(1 + u) and 1 − y, for u ≥ 0."""
    rest = 1.0 / (1.0 + u)
    y = u * rest
    if u < SERIES_TO:
        gap = _u_minus_log1p(u)
        return u - gap, gap, gap - u * y, y, rest
    logarithm = log(1.0 + u)
    return logarithm, u - logarithm, y - logarithm, y, rest


@compiled
def _rising(beyond, count, first_seen, theta):  # type: ignore[no-untyped-def]
    """Sums over cells and k < x of log1p(k/θ), k/(θ+k) and kθ/(θ+k)².

    The first 32 terms are added one by one, for all cells at once; the others by the formula of
    Euler and Maclaurin, whose first neglected term is below 1e-13.
    """
    value, slope, bend = 0.0, 0.0, 0.0
    for k in range(1, DIRECT):
        if beyond[k] == 0.0:
            return value, slope, bend
        share = k / (theta + k)
        value += beyond[k] * log1p(k / theta)
        slope += beyond[k] * share
        bend += beyond[k] * share * theta / (theta + k)
    low = antiderivatives(float(DIRECT), theta)
    for i in range(first_seen, len(count)):
        if count[i] > DIRECT:
            high = antiderivatives(count[i], theta)
            value += high[0] - low[0]
            slope += high[1] - low[1]
            bend += high[2] - low[2]
    return value, slope, bend


@compiled
def antiderivatives(k, theta):  # type: ignore[no-untyped-def]
    """Of the three terms of ``_rising`` in k, with the end corrections −f/2 + f′/12 − f‴/720 …"""
    logarithm, gap, h, share, rest = _log_terms(k / theta)
    one = 1.0 / (theta + k)
    two = one * one
    value = theta * (k / theta * logarithm - gap) - 0.5 * logarithm
    value += one * (1 / 12 - two * (1 / 360 - two * (1 / 1260)))
    slope = theta * gap - 0.5 * share
    slope += rest * one * (1 / 12 - two * (1 / 120 - two * (1 / 252)))
    bend = -theta * h - 0.5 * share * rest
    bend += rest * one * (2 * rest - 1) / 12
    bend -= rest * one * two * ((4 * rest - 1) / 120 - two * (6 * rest - 1) / 252)
    return value, slope, bend


@compiled
def _of_seen(mean, count, first_seen, scale, theta):  # type: ignore[no-untyped-def]
    """Sums over cells with a count, without those of ``_rising``."""
    value, g_s, g_t, h_ss, h_st, h_tt = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(first_seen, len(mean)):
        mu, x = scale * mean[i], count[i]
        logarithm, _, h, y, rest = _log_terms(mu / theta)
        value -= (x + theta) * logarithm
        g_s += (x - mu) * rest
        g_t += theta * h + x * y
        h_ss -= (x + theta) * y * rest
        h_st += (x - mu) * y * rest
        h_tt += theta * (h + y * y) - x * y * rest
    return value, g_s, g_t, h_ss, h_st, h_tt


@compiled
def _of_nb_zeros(mean, zeros, scale, theta):  # type: ignore[no-untyped-def]
    """Sums over cells without a count under the NB: one logarithm for many cells."""
    product, logarithm, h, y_sum, square, spread, mixed = 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    ratio = scale / theta
    for i in range(zeros):
        u = ratio * mean[i]
        rest = 1.0 / (1.0 + u)
        y = u * rest
        if u < SERIES_TO:
            gap = _u_minus_log1p(u)
            logarithm += u - gap
            h += gap - u * y
        else:
            product *= 1.0 + u
            h += y
            if product > LARGE:
                logarithm, h, product = logarithm + log(product), h - log(product), 1.0
        y_sum += y
        square += y * y
        spread += y * rest
        mixed += u * y * rest
    logarithm, h = logarithm + log(product), h - log(product)
    h_ss, h_st, h_tt = -theta * spread, -theta * mixed, theta * (h + square)
    return -theta * logarithm, -theta * y_sum, theta * h, h_ss, h_st, h_tt


@compiled
def _of_zinb_zeros(mean, zeros, scale, theta, z):  # type: ignore[no-untyped-def]
    """Sums over cells without a count of log(eᶻ + q), q the NB's probability of 0: ten parts.

    ``extra`` is the posterior probability of an extra zero, ``plain`` that of an NB one.
    """
    value, g_s, g_t, g_z = 0.0, 0.0, 0.0, 0.0
    h_ss, h_st, h_tt, h_sz, h_tz, h_zz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    product, ratio = 1.0, scale / theta
    for i in range(zeros):
        u = ratio * mean[i]
        logarithm, _, h, y, rest = _log_terms(u)
        q_s, q_t, gap = -theta * y, theta * h, z + theta * logarithm
        less = exp(-abs(gap))
        larger = 1.0 / (1.0 + less)
        extra, plain = (larger, less * larger) if gap > 0 else (less * larger, larger)
        value += max(z, z - gap)
        product *= 1.0 + less
        if product > LARGE:
            value, product = value + log(product), 1.0
        both = extra * plain
        g_s += plain * q_s
        g_t += plain * q_t
        g_z += extra
        h_ss += q_s * (plain * rest + both * q_s)
        h_st += both * q_s * q_t + plain * u * rest * q_s
        h_tt += plain * theta * (h + y * y) + both * q_t * q_t
        h_sz -= both * q_s
        h_tz -= both * q_t
        h_zz += both
    return value + log(product), g_s, g_t, g_z, h_ss, h_st, h_tt, h_sz, h_tz, h_zz


@compiled
def _gene_sums(mean, count, zeros, beyond, s, t, z, out):  # type: ignore[no-untyped-def]
    """All ten sums of one gene, without what is the same for every (θ, z)."""
    scale, theta = exp(s), exp(t)
    value, g_s, g_t, h_ss, h_st, h_tt = _of_seen(mean, count, zeros, scale, theta)
    rising, slope, bend = _rising(beyond, count, zeros, theta)
    out[:] = (value + rising, g_s, g_t - slope, 0.0, h_ss, h_st, h_tt + bend, 0.0, 0.0, 0.0)
    if z == -inf:
        value, g_s, g_t, h_ss, h_st, h_tt = _of_nb_zeros(mean, zeros, scale, theta)
        out[:] += np.array((value, g_s, g_t, 0.0, h_ss, h_st, h_tt, 0.0, 0.0, 0.0))
        return
    out[:] += np.array(_of_zinb_zeros(mean, zeros, scale, theta, z))
    less = exp(-abs(z))
    pi = (1.0 if z > 0 else less) / (1.0 + less)
    out[0] -= len(mean) * (max(z, 0.0) + log1p(less))
    out[3] -= len(mean) * pi
    out[9] -= len(mean) * pi * (1.0 - pi)


@compiled
def all_sums(mean, count, zeros, beyond, genes, s, t, z, out):  # type: ignore[no-untyped-def]
    """``_gene_sums`` of some genes, into ``out``, (some genes, 10)."""
    for j in range(len(genes)):
        g = genes[j]
        row = out[j]
        _gene_sums(mean[g], count[g], zeros[g], beyond[g], s[j], t[j], z[j], row)


@compiled
def constants(mean, count, zeros, out):  # type: ignore[no-untyped-def]
    """Sum of x log m − log x! per gene, into ``out``, (gene,)."""
    for g in range(len(zeros)):
        total = 0.0
        for i in range(zeros[g], mean.shape[1]):
            x = count[g, i]
            total += x * log(mean[g, i]) - (lgamma(x + 1.0) if x > 1.0 else 0.0)
        out[g] = total
