"""Error of the log mean against the truth."""

from __future__ import annotations

import numpy as np

from countae import metrics

mean_log_error = metrics.get("mean_log_error")


def test_by_hand():
    """Oracle: log 2 and 0 have a root mean square of log 2/√2; a factor gives its log."""
    true = np.array([[1.0, 5.0], [4.0, 0.5]])
    value = mean_log_error(mean=np.array([[2.0, 15.0], [4.0, 1.5]]), true_mean=true)
    np.testing.assert_allclose(value, [np.log(2) / np.sqrt(2), np.log(3)], rtol=1e-12)


def test_a_zero_counts_as_a_thousandth_of_the_genes_average():
    """Oracle: the docstring, by hand: the gene's average is 2, so a zero is 0.002."""
    value = mean_log_error(mean=np.array([[0.0], [3.0]]), true_mean=np.array([[1.0], [3.0]]))
    np.testing.assert_allclose(value, [np.log(500) / np.sqrt(2)], rtol=1e-12)
