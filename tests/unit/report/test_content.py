"""What stands in figures, tables and methods, against the results they come from."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd
import pytest

from countae import likelihoods, metrics
from countae.errors import ScoreError
from countae.report import (
    bibliography,
    commands,
    fit_figures,
    gene_panel,
    latent,
    look,
    methods,
    network_text,
    score_figures,
    story,
    tables,
    training_figures,
)
from countae.report.embed import by_column
from countae.report.load import load
from countae.wording import short


def inline(spec: dict) -> list[list[dict]]:
    """Inline data of a specification, layer by layer."""
    own = [spec["data"]["values"]] if "values" in spec.get("data", {}) else []
    return own + [rows for layer in spec.get("layer", []) for rows in inline(layer)]


@pytest.fixture(scope="module")
def data(toy):
    return load(toy)


def test_specifications_are_valid_vega_lite(data):
    figures = [
        score_figures.score_dots(data), score_figures.forest(data), score_figures.gene_gaps(data),
        fit_figures.explained(data), fit_figures.zeros_against_mean(data),
        fit_figures.variance_against_mean(data), fit_figures.reliability(data),
        fit_figures.zero_errors(data).figures[0], fit_figures.pit_histograms(data).figures[0],
        training_figures.training_curves(data).figures[0],
        training_figures.latent_maps(data).figures[0],
        gene_panel.gene_panel(data, data.histograms, "gene3"),
    ]  # fmt: skip
    for made in figures:
        alt.Chart.from_dict(made.spec, validate=True)
        assert made.spec["width"] == "container"
        assert made.spec["description"] == made.title


def test_forest_shows_the_pairs_of_the_verdict(data):
    rows = next(rows for rows in inline(score_figures.forest(data).spec) if "loss" in rows[0])
    pairs = [p for p in data.verdict["axes"]["overall"]["pairs"] if p["better"] == "nb"]
    assert [row["loss"] for row in rows] == ["ZINB", "MSE log1p"]
    for row, pair in zip(rows, pairs, strict=True):
        shown = [row["difference"], row["low"], row["high"]]
        np.testing.assert_allclose(shown, [pair["difference"], *pair["interval"]], rtol=1e-4)


def test_score_dots_average_over_seeds(data):
    rows = inline(score_figures.score_dots(data).spec)
    dots = next(part for part in rows if "noise" in part[0])
    own = next(row for row in dots if row["loss"] == "NB" and row["noise"] == "own")
    assert own["score"] == pytest.approx(0.87 + 0.001, abs=1e-5)  # seeds 0, 1, 2 add 0, .001, .002
    assert own["high"] - own["score"] == pytest.approx(0.001, abs=2e-5)
    controls = next(part for part in rows if "control" in part[0])
    assert [row["control"] for row in controls] == ["gene mean | NB", "oracle"]


def test_expected_zeros_follow_the_scores(data):
    parts = inline(fit_figures.zeros_against_mean(data).spec)
    observed, expected = parts[0], parts[1]
    assert len(observed) == len(data.genes)
    assert {"MSE log1p", "NB", "ZINB"} < {row["loss"] for row in expected}
    for row in expected:
        assert row["value"] == pytest.approx(np.exp(-row["mean"]) + 0.001, abs=0.02)


def test_pit_and_reliability_hold_the_bins_of_the_scores(data):
    bars = inline(fit_figures.pit_histograms(data).figures[0].spec)[0]
    assert [bar["density"] for bar in bars] == pytest.approx([1 + 0.01 * k for k in range(20)])
    assert bars[-1]["to"] == pytest.approx(1)
    curve = inline(fit_figures.reliability(data).spec)[1]
    first = [row for row in curve if row["loss"] == "NB"]
    assert [row["predicted"] for row in first] == pytest.approx([0.05, 0.45, 0.95])
    assert [row["observed"] for row in first] == pytest.approx([0, 0.4, 0.9])


def test_colour_and_dash_of_a_loss_are_fixed(data):
    spec = fit_figures.variance_against_mean(data).spec
    line = spec["layer"][0]["layer"][1]["encoding"]
    for channel in ("color", "strokeDash"):
        assert line[channel]["scale"]["domain"] == ["MSE log1p", "NB", "ZINB"]
        assert len(set(map(str, line[channel]["scale"]["range"]))) == 3


def test_training_curves_keep_all_seeds_and_mark_the_kept_epoch(data):
    lines, kept = inline(training_figures.training_curves(data).figures[1].spec)
    assert {row["seed"] for row in lines} == {0, 1, 2}
    assert {row["part"] for row in lines} == {"training", "validation"}
    assert [row["epoch"] for row in kept] == [20, 21, 22]


def test_long_training_curves_are_thinned():
    shown = training_figures._thinned(1000)
    assert len(shown) <= 120
    assert (shown[0], shown[-1]) == (0, 999)


def test_leaderboard_is_sorted_and_has_the_controls(data):
    table = tables.leaderboard(data)
    by = [column.label for column in table.columns].index("log score")
    scores = [cells[by].value for cells, _ in table.rows]
    assert scores == sorted(scores)
    assert (
        len(table.rows) == 4 * 5 + 1 + 4
    )  # losses and oracle with five noises, a variant, the null
    names = [(cells[0].text, cells[1].text) for cells, _ in table.rows]
    assert {("Gene mean", "NB"), ("Gene mean", "Poisson"), ("Oracle", "own")} <= set(names)
    flagged = [column.label for column in table.columns if column.note == "compatibility only"]
    assert flagged == ["MSE log1p", "Poisson loss"]


def test_a_variant_of_some_losses_is_in_the_table_only(data):
    table = tables.factorial(data)
    assert [column.label for column in table.columns][2] == "Single scale noise"
    shown = {cells[0].text: cells[2].text for cells, _ in table.rows}
    assert shown["MSE log1p"] != shown["NB"] == "–"
    dots = inline(score_figures.score_dots(data).spec)
    assert not any(row.get("noise") == "single scale" for part in dots for row in part)


def test_gene_pairs_read_row_beats_column(data):
    rows = {cells[0].text: [cell.text for cell in cells[1:]] for cells, _ in
            tables.gene_pairs(data).rows}  # fmt: skip
    assert rows == {"MSE log1p": ["", "0", "0"], "NB": ["7", "", "7"], "ZINB": ["0", "0", ""]}


def test_factorial_shades_the_best_most(data):
    table = tables.factorial(data)
    shades = {cells[0].text: cells[1].shade for cells, _ in table.rows}
    assert shades["Oracle"] > shades["NB"] > shades["MSE log1p"]
    assert shades["Gene mean"] is None  # it has no noise of its own


def test_interval_of_a_card_keeps_the_order(data):
    for card in story.cards(data):
        place = card.interval
        ends = [place.band_low, place.zero, place.band_high, place.low, place.value, place.high]
        assert ends == sorted(ends)
        assert place.zero - place.band_low == pytest.approx(place.band_high - place.zero, abs=0.02)
        assert 0 <= ends[0]
        assert ends[-1] <= 100


def test_the_scale_of_a_card_is_that_of_its_numbers(data):
    """Positions are a straight line through the numbers: of the interval, zero and ±δ."""
    for card, axis in zip(story.cards(data), data.verdict["axes"].values(), strict=True):
        place, (low, high) = card.interval, axis["interval"]
        known = {0.0: place.zero, axis["delta"]: place.band_high, low: place.low, high: place.high,
                 -axis["delta"]: place.band_low, axis["difference"]: place.value}  # fmt: skip
        scale = (place.high - place.low) / (high - low)
        for value, position in known.items():
            assert position - place.zero == pytest.approx(scale * value, abs=0.05)


def test_bars_of_what_is_explained_are_quantiles_over_genes(data):
    """Oracle: NumPy's quantiles of the means over seeds; the caption says which."""
    figure = fit_figures.explained(data)
    assert "middle half of the genes; thin bar: middle 80 %" in figure.caption
    table = data.points("native", "poisson_deviance_explained", level="gene")
    rows = {row["loss"]: row for layer in inline(figure.spec) for row in layer if "median" in row}
    for loss in data.losses:
        wanted = np.quantile(table.loc[loss].clip(lower=-1), [0.1, 0.25, 0.5, 0.75, 0.9])
        found = [rows[short(loss)][n] for n in ("low", "lower", "median", "upper", "high")]
        np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_few_errors_of_zeros_lie_on_the_edge(data):
    """The axis holds at least 99 % of the genes of all losses."""
    panels = fit_figures.zero_errors(data)
    limits = {
        tuple(p.spec["layer"][0]["encoding"]["y"]["scale"]["domain"]) for p in panels.figures
    }
    ((low, high),) = limits
    errors = data.points("native", "zero_fraction_error", level="gene").loc[data.losses].abs()
    assert low == -high
    assert (errors > high).to_numpy().mean() <= 0.01
    assert high <= errors.to_numpy().max() + 0.05


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v["axes"]["overall"].update(difference=float("nan")), "has the number NaN"),
        (lambda v: v["axes"]["overall"].update(outcome="banana"), "names 'banana'"),
        (lambda v: v.update(recommended="nosuch"), "names 'nosuch'"),
    ],
)
def test_a_verdict_that_was_edited_is_refused(results, change, words):
    folder = results.write()
    verdict = json.loads((folder / "verdict.json").read_text())
    change(verdict)
    (folder / "verdict.json").write_text(json.dumps(verdict))
    with pytest.raises(ScoreError, match=words):
        load(folder)


def test_results_under_another_name_are_read(results):
    folder = results.write()
    other = folder.rename(folder.with_name("copied"))
    assert load(other).latents.n_cells > 0
    (other / "second.h5ad").touch()
    with pytest.raises(ScoreError, match="copied.h5ad: the report takes the latent maps"):
        load(other)


def test_gene_classes_list_all_losses_even_with_no_gene(data):
    classes = {entry.title: entry.number for entry in story.gene_classes(data)}
    assert classes["NB alone is best"] == "10"
    assert classes["ZINB alone is best"] == "0"


def test_commands_are_a_script_with_options_that_exist(results):
    results.dataset = results.folder = "toy $(touch x)"
    text = commands.commands(load(results.write()))
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0
    assert "/home/someone" not in text
    import typer

    from countae.cli import app

    verbs = typer.main.get_command(app).commands
    for line in text.splitlines():
        words = shlex.split(line.strip().partition("countae ")[2])
        if words and not line.startswith("#"):
            known = {option for each in verbs[words[0]].params for option in each.opts}
            assert {word for word in words if word.startswith("--")} <= known


def test_methods_hold_the_settings(data):
    text = " ".join(paragraph for _, paragraph in methods.paragraphs(data))
    for words in ("encoder widths 128", "step size 0.004", "in 5 folds", "seeds were 0, 1 and 2",
                  "below 2 % of the", "further seeds 3, 4 and 5"):  # fmt: skip
        assert words in text
    parameters = {key: value for key, value, _ in methods.parameters(data)}
    assert parameters["training.patience"] == "30"
    assert "simulate.cells" not in parameters
    meanings = {key: meaning for key, _, meaning in methods.parameters(data)}
    assert meanings["split.folds"]


def test_methods_tell_what_a_search_chose(results):
    """No loss is said to have another's settings, in words, table or commands."""
    plain = results.fit

    def searched(loss, seed):
        record = plain(loss, seed) | {"tuning_trials": 6}
        if loss == "zinb":
            record["training"] |= {"learning_rate": 0.002}
            record["network"] |= {"hidden": [256]}
        return record

    results.fit = searched
    found = load(results.write())
    text = dict(methods.paragraphs(found))["Networks"]
    assert "among the same 6 settings" in text
    step = (
        "step size 0.004 (mse_log1p and nb); 0.002 (zinb), reached over the first 50 steps and "
        "halved after 5 epochs in a row without progress"
    )
    assert step in text
    assert "encoder widths 128 (mse_log1p and nb); 256 (zinb)" in text
    parameters = {key: value for key, value, _ in methods.parameters(found)}
    assert parameters["training.learning_rate"] == "0.004 (mse_log1p and nb); 0.002 (zinb)"
    assert parameters["training.patience"] == "30"
    loops = commands.commands(found).split("for loss in ")[1:]
    options = {loop.split(";")[0]: loop for loop in loops if "--learning-rate" in loop}
    assert set(options) == {"mse_log1p nb", "zinb", "nb"}  # the last is the A/A control
    assert "--learning-rate 0.002" in options["zinb"]
    assert "--hidden 256" in options["zinb"]
    assert "--learning-rate 0.004" in options["mse_log1p nb"]


def test_methods_tell_the_options_of_the_network(results):
    """What was default is not told of as a choice; what was chosen is, in words and commands."""
    plain = dict(methods.paragraphs(load(results.write())))["Networks"]
    assert "hidden layers with LayerNorm and ReLU, dropout 0.3. All started" in plain
    chosen = {
        "norm": "batch", "bottleneck": "variational", "kl_weight": 0.5,
        "conditions": ["batch", "donor"], "library": "predicted", "latent_steps": 30,
    }  # fmt: skip
    usual, told = results.fit, {}

    def optional(loss, seed):
        record = usual(loss, seed)
        return record | {"network": record["network"] | told}

    results.fit = optional
    told |= chosen
    found = load(results.write())
    text = dict(methods.paragraphs(found))["Networks"]
    for words in (
        "with BatchNorm and ReLU", "was added to the loss with weight 0.5, rising over the first "
        "20 epochs", "told each cell's batch and donor", "the encoder predicted",
        "moved by at most 30 steps",
    ):  # fmt: skip
        assert words in text
        assert words not in plain
    options = "--bottleneck variational --kl-weight 0.5 --kl-warm-up 20 --conditions batch,donor"
    assert options in commands.commands(found)
    assert "Variational bottleneck" in " ".join(what for what, _, _ in methods.references(found))
    told |= {"bottleneck": "plain", "conditions": [], "weights": "tied", "activation": "linear",
             "norm": "none"}  # fmt: skip
    text = dict(methods.paragraphs(load(results.write())))["Networks"]
    assert "hidden layers with no activation, dropout" in text
    assert "had the encoder's weights, transposed" in text
    assert "--conditions ''" in commands.commands(load(results.path))


def test_references_have_addresses(data):
    found = {what: address for what, _, address in methods.references(data)}
    assert found["Negative binomial (NB), loss"] == "https://doi.org/10.1038/nmeth.2930"
    brier = found["Brier score of zeros, measure"]
    assert brier.endswith("10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2")


def test_every_doi_of_a_loss_a_metric_or_a_method_has_a_whole_entry():
    """A new one needs a line in references.bib."""
    texts = [member.reference for member in map(likelihoods.get, likelihoods.names())]
    texts += [metrics.get(name).function.__doc__ for name in metrics.names()]
    texts += [Path(module.__file__).read_text() for module in (methods, network_text)]
    found = {doi.rstrip(".,") for text in texts for doi in re.findall(r'10\.\d{4,}/[^\s"]+', text)}
    assert len(found) > 25
    assert found <= set(bibliography.known())


def test_every_entry_is_whole_and_cited():
    """Well-formed DOI, key with the year, place in the journal; each is asked for somewhere."""
    source = Path(bibliography.__file__).parents[1]
    code = "".join(path.read_text() for path in source.rglob("*.py"))
    keys = []
    for doi, entry in bibliography.known().items():
        assert re.fullmatch(r"10\.\d{4,}/[^\s{}]+", doi), entry
        key, author, year = re.search(
            r"\{(\w+),\n  author = \{(.+)\},\n  title[^\0]*year = \{(\d{4})\}", entry
        ).groups()
        keys.append(key)
        assert key.endswith(year)
        if entry.startswith("@article") and key != "luecken2025":  # published ahead of its volume
            assert re.search(r"  volume = \{\d+\},", entry), entry
            assert re.search(r"  pages = \{\d+(--\d+)?\},", entry), entry
        assert doi in code, doi
    assert len(keys) == len(set(keys)) > 30


def test_bibtex_has_each_reference_once(data):
    """Braces close, keys differ, and what is not known gets an entry of its name."""
    references = [*methods.references(data), *methods.references(data)]
    references.append(("A plugin's loss, 5 % {better}", "doi:10.1/a_b", ""))
    text = bibliography.bibtex(references)
    keys = re.findall(r"^@\w+\{([^,\s]+),$", text, re.M)
    assert len(keys) == len(set(keys)) == text.count("@")
    assert keys[0] == "countae"
    assert {"grun2014", "brier1950", "satterthwaite1946"} < set(keys)
    escaped = text.replace(r"\{", "").replace(r"\}", "")
    assert escaped.count("{") == escaped.count("}")
    assert "doi = {10.1/a_b}" in text
    assert r"5 \% \{better\}" in text


def test_histograms_follow_the_scores(data):
    """Observed shares as written, expected ones averaged over seeds; bins named by their ends."""
    found = data.histograms
    assert found.bins[:6] == ["0", "1", "2", "3", "4", "5–6"]
    assert found.bins[-1] == "1000+"
    np.testing.assert_allclose(found.observed[:2, 3], [0.6, 0.4], atol=1e-6)
    np.testing.assert_allclose(found.expected["nb"][:2, 3], [0.59, 0.41], atol=1e-6)
    bars, dots = inline(gene_panel.gene_panel(data, found, "gene3").spec)
    assert [row["share"] for row in bars] == pytest.approx([0.6, 0.4])
    of_nb = [row["share"] for row in dots if row["loss"] == "NB"]
    assert of_nb == pytest.approx([0.59, 0.41])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0000"), (1.23456789, "1.2346"), (-12.3456, "−12.346"), (12345.678, "12,346"),
        (3.3e-5, "0.00003"), (-3.3e-6, "−0.000003"), (3.3e-8, "3.3 × 10⁻⁸"),
        (float("nan"), "–"), (float("-inf"), "−∞"), (None, "–"),
    ],
)  # fmt: skip
def test_numbers_for_people(value, text):
    assert look.number(value) == text


def test_shares_for_people():
    assert [look.percent(x) for x in (0.0, 0.02, 0.0123, 0.5, 1.0)] == [
        "0 %", "2 %", "1.2 %", "50 %", "100 %",
    ]  # fmt: skip


def test_columns_hold_the_rows():
    rows = [{"a": k, "b": str(k)} for k in range(50)]
    packed = by_column({"layer": [{"data": {"values": rows}}]})["layer"][0]["data"]
    assert packed == {"columns": {"a": list(range(50)), "b": [str(k) for k in range(50)]}}
    few = {"data": {"values": rows[:3]}}
    assert by_column(few) == few


def test_principal_components_agree_with_the_covariance():
    """Oracle: eigenvalues of NumPy's covariance matrix."""
    latent_space = np.random.default_rng(1).normal(size=(200, 6)) * np.arange(1, 7)
    points, share = latent.principal_components(latent_space, np.arange(200))
    values = np.sort(np.linalg.eigvalsh(np.cov(latent_space.T)))[::-1]
    np.testing.assert_allclose(points.var(axis=0, ddof=1), values[:2], rtol=1e-9)
    assert share == pytest.approx(values[:2].sum() / values.sum())


def test_a_latent_without_spread_has_a_map_too():
    points, share = latent.principal_components(np.ones((5, 1)), np.arange(5))
    assert points.shape == (5, 2)
    assert share == 0


def test_cells_of_a_map_keep_rare_labels():
    labels = np.array(["common"] * 19_997 + ["rare"] * 3)
    shown = latent.chosen_cells(labels, len(labels))
    assert len(shown) <= latent.MOST_CELLS
    assert "rare" in labels[shown]
    assert len(latent.chosen_cells(None, 20_000)) == latent.MOST_CELLS


def test_too_many_labels_are_merged(results):
    results.labels = [f"type {k}" for k in range(30)]
    found = load(results.write()).latents
    assert len(set(found.labels)) == latent.MOST_LABELS
    assert latent.OTHERS in found.labels


def test_a_loss_left_from_an_earlier_run_is_no_control(results):
    folder = results.write()
    results.losses = ["mse_log1p", "nb"]
    results._json("verdict.json", results.verdict())
    data = load(folder)
    assert data.baselines == ["gene_mean"]
    assert data.losses == ["mse_log1p", "nb"]


def test_gene_metrics_of_scores_are_averaged_over_seeds(data):
    table = data.points("native", "zero_fraction_error", level="gene")
    assert isinstance(table, pd.DataFrame)
    assert table.loc["nb", "gene3"] == pytest.approx(-0.15 + 3 * 0.32 / 39 + 0.001)


def test_the_report_loads_neither_torch_nor_scanpy():
    code = "import countae.report.page, sys; print({'torch', 'scanpy'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
