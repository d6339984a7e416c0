"""The triage of real matrices: the right kind, molecules or reads, and no false error."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from countae.counts.readers import open_counts
from countae.triage._run import examine
from countae.triage._sums import sums_of

FILES = (
    "celltypist_sample_10x", "lung_lines_celseq2", "lung_lines_dropseq", "pbmc8k_10x",
    "scmark_tcells_umi", "worm_embryo_10x", "neural_c1_smarter_reads", "th2_c1_smarter_reads",
)  # fmt: skip


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_real_counts_are_known_for_what_they_are(real_data, name):
    triage = examine(open_counts(str(real_data / f"{name}.h5ad")))
    assert triage.usable
    assert triage.kind == "counts"
    (protocol,) = [each.what for kind, each in triage.findings if kind == "protocol"]
    assert ("reads, not" in protocol) == name.endswith("_reads")
    spikes = any(kind == "spike_ins" for kind, _ in triage.findings)
    assert spikes == (name in {"lung_lines_celseq2", "th2_c1_smarter_reads"})
    warnings = {kind for kind, each in triage.findings if each.severity == "warning"}
    assert warnings <= {"spike_ins"}


@pytest.mark.data
@pytest.mark.slow
def test_sums_of_a_real_matrix_are_those_of_scipy(real_data):
    """Oracle: SciPy on the whole matrix."""
    reader = open_counts(str(real_data / "worm_embryo_10x.h5ad"))
    whole = sparse.vstack([*reader.raw_blocks()]).tocsr().astype(np.float64)
    found = sums_of(reader, 333)
    np.testing.assert_array_equal(found.total, whole.sum(axis=1).A1)
    np.testing.assert_array_equal(found.gene_sum, whole.sum(axis=0).A1)
    np.testing.assert_array_equal(found.gene_square, whole.power(2).sum(axis=0).A1)
    np.testing.assert_array_equal(found.gene_by_size, whole.T @ found.total)
    np.testing.assert_array_equal(found.expressed, whole.getnnz(axis=1))
    np.testing.assert_array_equal(found.gene_expressed, whole.getnnz(axis=0))
    assert found.ones == (whole.data == 1).sum()
