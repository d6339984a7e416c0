"""Later use: neighbours, markers and the comparison of losses, against SciPy and by hand."""

from __future__ import annotations

import json

import anndata
import numpy as np
import pandas as pd
import pytest
from conftest import SETTINGS, prepared
from scipy import stats
from typer.testing import CliRunner

from countae import metrics
from countae.cli import app
from countae.downstream import (
    MEASURES,
    PCA,
    RAW,
    Later,
    behind,
    compared,
    halves,
    knn_overlap,
    markers,
    rank_sum,
    recovered,
)
from countae.errors import CountaeError, CountMatrixError
from countae.fit import fit, save
from countae.proteins import Proteins, matched, read_proteins, rna_protein


@pytest.fixture(scope="module")
def matrix():
    return prepared("simulate:nb", cells=200, genes=60, label_key="cell_type")[0]


def test_rank_sums_agree_with_scipy(rng):
    """Oracle: scipy.stats.mannwhitneyu, two-sided, for ties, without correction for continuity."""
    expression = rng.poisson(0.7, (80, 12)).astype(float)
    expression[:, 3] = 2.0
    inside = rng.random(80) < 0.3
    z = rank_sum(expression, inside)
    for gene in range(12):
        if gene == 3:
            assert z[gene] == 0
            continue
        known = stats.mannwhitneyu(
            expression[inside, gene], expression[~inside, gene], method="asymptotic",
            use_continuity=False,
        )  # fmt: skip
        assert 2 * stats.norm.sf(abs(z[gene])) == pytest.approx(known.pvalue, rel=1e-9)
        assert (z[gene] > 0) == (known.statistic > inside.sum() * (~inside).sum() / 2)


def test_markers_are_the_highest_genes_only():
    inside = np.array([True] * 5 + [False] * 5)
    expression = np.zeros((10, 4))
    expression[inside, 2], expression[inside, 0], expression[~inside, 1] = 5, 1, 9
    expression[5, 0] = 1
    np.testing.assert_array_equal(markers(expression, inside, 3), [2, 0])
    np.testing.assert_array_equal(markers(expression, inside, 1), [2])


def test_recovered_is_a_mean_over_labels():
    wanted = {"a": np.array([1, 2, 3, 4]), "b": np.array([5, 6]), "c": np.array([], int)}
    found = {"a": np.array([4, 9, 1, 7]), "b": np.array([6, 5]), "c": np.array([1])}
    assert recovered(wanted, found) == pytest.approx((0.5 + 1.0) / 2)
    assert np.isnan(recovered({}, {}))


def test_neighbours_overlap_by_hand_and_by_chance(rng):
    """The same space: 1. Two unrelated ones: 15/(cells − 1), within four standard errors."""
    space = rng.normal(size=(200, 3))
    assert knn_overlap(space, 3 * space + 1) == 1.0
    chance = [knn_overlap(rng.normal(size=(200, 3)), space) for _ in range(5)]
    assert np.mean(chance) == pytest.approx(15 / 199, abs=0.015)
    line, other = np.arange(17.0)[:, None], np.arange(17.0)[::-1, None].copy()
    assert knn_overlap(line, other) == 1.0  # a mirror keeps neighbours


def test_the_halves_are_the_molecules_of_the_test_cells(matrix):
    one, other = halves(matrix)
    test = matrix.part == "test"
    whole = matrix.rows(slice(None)).toarray()
    parts = [half.rows(slice(None)).toarray() for half in (one, other)]
    np.testing.assert_array_equal(parts[0][test] + parts[1][test], whole[test])
    np.testing.assert_array_equal(parts[1][~test], whole[~test])
    assert abs(parts[0][test].sum() - whole[test].sum() / 2) < 4 * np.sqrt(whole[test].sum() / 4)
    np.testing.assert_array_equal(
        one.library_size[test] + other.library_size[test], matrix.library_size[test]
    )
    assert one.reference_size == other.reference_size == matrix.reference_size


@pytest.fixture(scope="module")
def controls(matrix):
    return Later(matrix).of_controls(5)


def test_controls_have_every_measure_within_its_bounds(controls):
    assert set(controls) == {RAW, PCA}
    for found in controls.values():
        assert set(found) == {*MEASURES} - {"rna_protein"}
        assert all(-1 <= value <= 1 for value in found.values())
        assert found["marker_recovery"] > 0.3  # a quarter of the genes differ between types


def test_principal_components_are_scikit_learns_and_know_the_types(matrix, controls, rng):
    """Fitted on training cells by hand; purer than with any of 99 shuffles of the labels."""
    from sklearn.decomposition import PCA as Components

    later = Later(matrix)
    labels = matrix.labels[later.test]
    log = np.log1p(matrix.rows(slice(None)).toarray() / matrix.size_factor[:, None])
    space = Components(5).fit(log[matrix.part == "train"]).transform(log[later.test])
    purity = metrics.get("knn_purity")
    assert controls[PCA]["knn_purity"] == pytest.approx(purity(latent=space, labels=labels))
    shuffled = [purity(latent=space, labels=rng.permutation(labels)) for _ in range(99)]
    assert controls[PCA]["knn_purity"] > max(shuffled)


def test_a_space_and_expression_that_know_nothing_have_nothing(matrix):
    later = Later(matrix)
    blind = later._measured(
        np.zeros((len(later.test), 2)), [np.zeros((len(later.test), 2))] * 2,
        np.ones((len(matrix.cell_id), len(matrix.gene_id))),
    )  # fmt: skip
    assert blind["nmi"] == 0
    assert blind["marker_recovery"] == 0


def test_without_labels_nothing_is_judged(small_nb):
    with pytest.raises(CountMatrixError, match="no `label_key` was named"):
        Later(small_nb)


def around(mean, n=4):
    return np.array([mean + 0.01 * (k % 2) for k in range(n)])


def test_behind_is_a_paired_test_with_holms_correction(rng):
    """Oracle: scipy.stats.ttest_rel, by hand twice the smaller of two p-values."""
    values = {"nb": 0.8 + 0.02 * rng.normal(size=5)}
    values |= {"zinb": values["nb"] - 0.05 + 0.01 * rng.normal(size=5)}
    values |= {"poisson": values["nb"] - 0.002 + 0.02 * rng.normal(size=5)}
    best = max(values, key=lambda loss: values[loss].mean())
    others = [loss for loss in values if loss != best]
    p = sorted((stats.ttest_rel(values[best], values[loss]).pvalue, loss) for loss in others)
    for level in (0.9 * 2 * p[0][0], 1.1 * 2 * p[0][0]):
        found = behind(values, level)
        assert (p[0][1] in found) == (2 * p[0][0] <= level)


def test_a_tie_is_called_a_tie_and_a_loser_a_loser():
    control = {name: dict.fromkeys(MEASURES, 0.5) for name in (RAW, PCA)}
    same = {loss: [dict.fromkeys(MEASURES, v) for v in around(0.7)] for loss in ("nb", "zinb")}
    told = compared(same, control, level=0.05)["measures"]["nmi"]["sentence"]
    assert "4 seeds do not tell the losses apart" in told
    assert told.endswith("Controls: no denoising 0.500, log1p + PCA 0.500.")
    ahead = {RAW: dict.fromkeys(MEASURES, 0.5), PCA: dict.fromkeys(MEASURES, 0.8)}
    told = compared(same, ahead, level=0.05)["measures"]["nmi"]["sentence"]
    assert told.endswith("log1p + PCA 0.800. No loss reaches log1p + PCA.")
    noise = [0.001, -0.001, 0.0005, -0.0005]
    worse = [dict.fromkeys(MEASURES, v - 0.2 + e) for v, e in zip(around(0.7), noise, strict=True)]
    found = compared(same | {"mse_counts": worse}, control, level=0.05)["measures"]["nmi"]
    assert "not told apart from it: ZINB; lower: MSE counts" in found["sentence"]
    row = found["losses"]["nb"]
    half = stats.t.ppf(0.975, 3) * around(0.7).std(ddof=1) / 2
    assert row["value"] == pytest.approx(around(0.7).mean())
    assert row["interval"] == pytest.approx([row["value"] - half, row["value"] + half])


def test_one_seed_says_nothing_and_what_is_not_known_is_not_told():
    control = {RAW: dict.fromkeys(MEASURES, float("nan"))}
    one = {loss: [dict.fromkeys(MEASURES, 0.7)] for loss in ("nb", "zinb")}
    told = compared(one, control, level=0.05)["measures"]["ari"]
    assert "one seed says nothing of differences" in told["sentence"]
    assert told["losses"]["nb"]["interval"] is None
    assert told["controls"] == {}
    none = {"nb": [dict.fromkeys(MEASURES, float("nan"))] * 3}
    told = compared(none, control, level=0.05)["measures"]["ari"]
    assert told == {"losses": {}, "controls": {}, "sentence": "Not known for these cells."}


def test_the_verb_judges_networks_and_controls(matrix, tmp_path):
    network = SETTINGS["network"] | {"hidden": [8], "latent": 3}
    training = SETTINGS["training"] | {"max_epochs": 4, "patience": 2}
    matrix.save(tmp_path / "counts.h5ad")
    for loss in ("nb", "mse_log1p"):
        for seed in (0, 1):
            made = fit(matrix, loss, seed=seed, network=network, training=training)
            save(*made, tmp_path / loss / f"seed{seed}" / "model.safetensors")
    words = ["downstream", str(tmp_path), str(tmp_path / "downstream.json"), "--likelihoods"]
    done = CliRunner().invoke(app, [*words, "nb,mse_log1p", "--seeds", "0,1"])
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "downstream.json").read_text())["measures"]
    assert set(found) == {*MEASURES} - {"rna_protein"}
    for measure in found.values():
        assert set(measure["losses"]) == {"nb", "mse_log1p"}
        assert set(measure["controls"]) == {RAW, PCA}
        assert all(row["seeds"] == 2 for row in measure["losses"].values())
    cite_seq(tmp_path / "p.h5ad", matrix, list(matrix.gene_id[:3]), np.random.default_rng(0))
    words += ["nb,mse_log1p", "--seeds", "0,1", "--protein-source", str(tmp_path / "p.h5ad")]
    done = CliRunner().invoke(app, [*words, "--protein-key", "protein"])
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "downstream.json").read_text())["measures"]
    assert set(found) == {*MEASURES}
    assert found["rna_protein"]["controls"][RAW] > 0


def cite_seq(path, matrix, columns, rng):
    """An .h5ad file with protein counts that follow the first genes; cells in another order."""
    cells = rng.permutation(len(matrix.cell_id))
    truth = matrix.adata.layers["true_mean"][cells][:, : len(columns)]
    table = pd.DataFrame(
        rng.poisson(50 * truth / truth.max(axis=0)), index=matrix.cell_id[cells], columns=columns
    )
    adata = anndata.AnnData(obs=pd.DataFrame(index=matrix.cell_id[cells]))
    adata.obsm["protein"] = table
    adata.write_h5ad(path)
    return table


def test_proteins_are_those_of_the_cells_by_name(matrix, tmp_path, rng):
    """By hand: centred log ratios of the right cells, for the proteins that have a gene."""
    genes = matrix.gene_id
    table = cite_seq(tmp_path / "p.h5ad", matrix, [genes[0], f"{genes[1]}_TotalSeqB", "IgG"], rng)
    found = read_proteins(tmp_path / "p.h5ad", "protein", matrix.cell_id, genes)
    np.testing.assert_array_equal(found.gene, [0, 1])
    assert found.name == (genes[0], f"{genes[1]}_TotalSeqB")
    logs = np.log1p(table.loc[matrix.cell_id].to_numpy())
    np.testing.assert_allclose(found.level, (logs - logs.mean(axis=1)[:, None])[:, :2])


@pytest.mark.parametrize(
    ("protein", "gene"),
    [("CD19", "CD19"), ("cd19", "CD19"), ("CD19_TotalSeqB", "CD19"), ("CD8a-1", "Cd8A"),
     ("IgG1", None), ("CD3", None), ("Ab", None)],
)  # fmt: skip
def test_proteins_have_the_gene_of_their_name_or_first_word(protein, gene):
    genes = ["CD3E", "Cd8A", "CD19", "ab", "AB"]  # two genes differ from Ab by capitals only
    assert matched([protein], genes) == ({} if gene is None else {0: genes.index(gene)})


def test_of_two_proteins_with_one_gene_the_first_counts():
    assert matched(["CD19", "CD19-2"], ["CD19"]) == {0: 0}


def test_rna_and_protein_correlate_as_scipy_says(rng):
    """Genes or proteins that are the same everywhere are left out; nothing is left: NaN."""
    rna, protein = rng.random((30, 3)), rng.random((30, 3))
    rna[:, 2] = 1
    expected = np.mean([stats.spearmanr(rna[:, k], protein[:, k]).statistic for k in (0, 1)])
    assert rna_protein(rna, protein) == pytest.approx(expected)
    assert np.isnan(rna_protein(np.ones((30, 1)), protein[:, :1]))


def test_expected_rna_follows_proteins_that_were_counted(matrix, tmp_path, rng):
    """Truth known: proteins are drawn around the genes' true means, so the controls see them."""
    cite_seq(tmp_path / "p.h5ad", matrix, list(matrix.gene_id[:6]), rng)
    proteins = read_proteins(tmp_path / "p.h5ad", "protein", matrix.cell_id, matrix.gene_id)
    own = Later(matrix, proteins).of_controls(5)
    mixed = Proteins(rng.permutation(proteins.level), proteins.gene, proteins.name)
    other = Later(matrix, mixed).of_controls(5)
    for control in (RAW, PCA):
        assert own[control]["rna_protein"] > 0.15 > abs(other[control]["rna_protein"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("key", "has no obsm\\['other'\\]; there are protein"),
        ("cells", "lacks 1 of the 200 prepared cells"),
        ("twice", "names must be unique, but 1 occur more than once"),
        ("names", "none of the 2 proteins"),
        ("negative", "must hold counts of proteins, but has negative"),
        ("missing", "has none for some of the prepared cells"),
        ("words", "but 1 of its 2 columns hold no numbers, the first"),
        ("array", "is a plain array without names"),
        ("loom", "from .h5ad files only"),
    ],
)
def test_protein_counts_that_cannot_be_used_are_told(matrix, tmp_path, rng, change, words):
    path, genes = tmp_path / "p.h5ad", list(matrix.gene_id[:2])
    cite_seq(path, matrix, ["IgG1", "IgG2"] if change == "names" else genes, rng)
    adata = anndata.read_h5ad(path)
    if change == "cells":
        adata = adata[1:].copy()
    if change == "twice":
        adata.obs_names = [adata.obs_names[1], *adata.obs_names[1:]]
    if change == "negative":
        adata.obsm["protein"] = adata.obsm["protein"] - 1000
    if change == "missing":
        adata.obsm["protein"] = adata.obsm["protein"].astype(float)
        adata.obsm["protein"].iloc[7, 1] = np.nan
    if change == "words":
        adata.obsm["protein"] = adata.obsm["protein"].astype({genes[1]: str})
    if change == "array":
        adata.obsm["protein"] = adata.obsm["protein"].to_numpy()
    adata.write_h5ad(path)
    source = "p.loom" if change == "loom" else path
    with pytest.raises(CountaeError, match=words):
        read_proteins(
            source, "other" if change == "key" else "protein", matrix.cell_id, matrix.gene_id
        )


@pytest.fixture
def source(matrix, tmp_path, rng):
    """An .h5ad source of raw counts with proteins."""
    genes = list(matrix.gene_id[:2])
    table = cite_seq(tmp_path / "p.h5ad", matrix, genes, rng).loc[matrix.cell_id]
    adata = anndata.AnnData(matrix.counts, table[[]], pd.DataFrame(index=matrix.gene_id))
    adata.obsm["protein"], adata.obsm["clr"] = table, table - table.mean()
    adata.obsm["other"] = table.set_axis(["IgG1", "IgG2"], axis=1)
    adata.write_h5ad(tmp_path / "raw.h5ad")
    return tmp_path / "raw.h5ad"


def test_a_wrong_protein_key_is_told_before_counts_are_read(source, monkeypatch):
    """Long before any fit: by `check` and `prepare`, and nothing is written."""
    monkeypatch.setattr("countae.prepare.sums", None)  # whoever reads counts fails otherwise
    monkeypatch.setattr("countae.triage._run.examine", None)
    outputs = [source.with_name(name) for name in ("c.h5ad", "t.json")]
    prepare = ["prepare", str(source), str(outputs[0]), "--triage", str(outputs[1])]
    for words in (prepare, ["check", str(source)]):
        for key, told in {"protien": "there are clr, other, protein", "clr": "negative"}.items():
            done = CliRunner().invoke(app, [*words, "--protein-key", key])
            assert isinstance(done.exception, CountaeError)
            assert told in str(done.exception)
    assert not any(path.exists() for path in outputs)


def test_proteins_without_a_prepared_gene_are_told_when_counts_are_prepared(source):
    with pytest.raises(CountaeError, match="none of the 2 proteins"):
        prepared(str(source), protein_key="other")


def test_proteins_are_looked_at_but_not_kept(source):
    found, triage = prepared(str(source), protein_key="protein")
    assert not found.adata.obsm
    assert triage["row"]["protein_key"] == "protein"
    np.testing.assert_array_equal(
        found.counts.toarray(), prepared(str(source))[0].counts.toarray()
    )
