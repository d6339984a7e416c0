"""Changes and leads with intervals over cells and seeds, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from countae.errors import ScoreError
from countae.files import write_table
from countae.stress_table import read_stressed, sentence, summarised


def made(rng, *, losses=("nb", "zinb"), seeds=3, cells=8, levels=(0.5, 0.1), test="depth", **add):
    """A table as `countae stress` writes it; every number is drawn."""
    rows = [
        {"test": test, "level": level, "case": 0, "cell": f"c{cell}", "likelihood": loss,
         "seed": seed}
        for loss in losses for level in levels for seed in range(seeds) for cell in range(cells)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    for name in ("own", "refitted", "null", "oracle"):
        table[f"clean_{name}"] = table.groupby(["likelihood", "seed", "cell"])["level"].transform(
            lambda group: rng.normal()
        )
        table[name] = rng.normal(size=len(table))
    for name in ("latent_depth", "residual_depth"):
        table[name] = table.groupby(["likelihood", "seed", "level"])["level"].transform(
            lambda group: rng.normal()
        )
        table[f"clean_{name}"] = table[name] + 1
    return table.assign(**add)


def row_of(found, likelihood, level, noise="own", test="depth"):
    return next(
        row for row in found["tests"][test]["rows"]
        if (row["likelihood"], row["level"], row["noise"]) == (likelihood, level, noise)
    )  # fmt: skip


def test_a_change_is_paired_and_its_interval_by_hand(rng):
    """Satterthwaite's t with the variance of cells over their number plus that of seeds."""
    table = made(rng)
    found = summarised(table, level=0.05)
    row = row_of(found, "zinb", 0.1, "refitted")
    part = table.query("likelihood == 'zinb' and level == 0.1")
    gap = (part["refitted"] - part["clean_refitted"]).to_numpy().reshape(3, 8)
    of_cells = gap.mean(axis=0).var(ddof=1) / 8
    of_seeds = gap.mean(axis=1).var(ddof=1) / 3
    freedom = (of_cells + of_seeds) ** 2 / (of_cells**2 / 7 + of_seeds**2 / 2)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(of_cells + of_seeds)
    assert row["change"]["value"] == pytest.approx(gap.mean())
    assert row["change"]["high"] - gap.mean() == pytest.approx(half)
    assert gap.mean() - row["change"]["low"] == pytest.approx(half)
    lead = (part["null"] - part["refitted"]).mean()
    assert row["lead"]["value"] == pytest.approx(lead)
    above = (part["refitted"] - part["oracle"]).mean()
    assert row["above_oracle"]["value"] == pytest.approx(above)
    assert (row["score"], row["null"]) == pytest.approx(
        (part["refitted"].mean(), part["null"].mean())
    )
    assert (row["seeds"], row["cells"]) == (3, 8)


def test_the_curve_starts_at_the_clean_scores_with_no_change(rng):
    table = made(rng)
    found = summarised(table, level=0.05)
    row = row_of(found, "nb", 1.0)
    part = table.query("likelihood == 'nb' and level == 0.5")
    assert row["score"] == part["clean_own"].mean()
    assert row["change"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert row["lead"]["value"] == pytest.approx((part["clean_null"] - part["clean_own"]).mean())
    assert row["latent_depth"] == pytest.approx(part["clean_latent_depth"].mean())
    levels = [r["level"] for r in found["tests"]["depth"]["rows"] if r["noise"] == "own"]
    assert levels == [1.0, 0.5, 0.1] * 2


def test_order_of_rows_does_not_matter(rng):
    table = made(rng)
    shuffled = table.sample(frac=1, random_state=1)
    one, other = (summarised(t, level=0.05) for t in (table, shuffled))
    for level in (1.0, 0.5, 0.1):
        pair = [row_of(found, "nb", level) for found in (one, other)]
        assert pair[0]["change"]["low"] == pytest.approx(pair[1]["change"]["low"])


def test_a_clean_level_that_was_asked_for_is_not_shown_twice(rng):
    found = summarised(made(rng, levels=(1.0, 0.5)), level=0.05)
    levels = [r["level"] for r in found["tests"]["depth"]["rows"] if r["noise"] == "own"]
    assert levels == [1.0, 0.5] * 2


def test_errors_are_by_donor_where_there_are_donors(rng):
    """Cells of two donors who differ: far wider than by cell."""
    table = made(rng, cells=20)
    donor = {f"c{k}": "ab"[k % 2] for k in range(20)}
    table["own"] = table["clean_own"] + table["cell"].map(donor).eq("a")
    widths = [
        np.ptp([row_of(summarised(table, level=0.05, donors=who), "nb", 0.1)["change"][end]
                for end in ("low", "high")])
        for who in (donor, None)
    ]  # fmt: skip
    assert widths[0] > 2 * widths[1]
    assert summarised(table, level=0.05, donors=donor)["errors_by"] == "donor"


def test_without_a_truth_nothing_is_said_of_the_oracle(rng):
    found = summarised(made(rng, oracle=np.nan, clean_oracle=np.nan), level=0.05)
    assert row_of(found, "nb", 0.1)["oracle"] is None
    assert row_of(found, "nb", 0.1)["above_oracle"] is None


def test_one_seed_has_the_error_of_cells_alone(rng):
    table = made(rng, seeds=1)
    row = row_of(summarised(table, level=0.05), "nb", 0.5)
    part = table.query("likelihood == 'nb' and level == 0.5")
    gap = (part["own"] - part["clean_own"]).to_numpy()
    half = stats.t.ppf(0.975, 7) * gap.std(ddof=1) / np.sqrt(8)
    assert row["change"]["high"] - row["change"]["value"] == pytest.approx(half)


def one(likelihood, change, lead, level=0.1):
    def around(value):
        return {"value": value, "low": value - 0.01, "high": value + 0.01}

    return {
        "likelihood": likelihood, "noise": "own", "level": level, "change": around(change),
        "lead": around(lead),
    }  # fmt: skip


def test_the_sentence_names_the_ends_and_who_fell_behind_the_null():
    rows = [one("nb", 0.1, 0.05), one("mse_counts", 0.9, -0.3), one("zinb", 0.2, 0.005)]
    rows += [one("zinb", 5.0, 5.0, level=0.5)]
    assert sentence(rows, clean=1.0) == (
        "Against clean counts, the score at 0.1 fares best with NB (+0.100, +0.090 to +0.110), "
        "worst with MSE counts (+0.900, +0.890 to +0.910). Better than the refitted null "
        "for sure: NB; worse for sure: MSE counts."
    )


def test_the_sentence_says_where_losses_are_not_told_apart():
    told = sentence([one("nb", 0.1, 0.0), one("zinb", 0.115, 0.0)], clean=1.0)
    assert "intervals overlap, so losses are not told apart" in told
    assert "for sure: none; worse for sure: none." in told


def test_tables_that_are_none_or_stand_twice_are_refused(rng, tmp_path):
    good, other = tmp_path / "good.parquet", tmp_path / "other.parquet"
    write_table(good, made(rng))
    write_table(other, made(rng).drop(columns=["null", "seed"]))
    with pytest.raises(ScoreError, match="has no null, seed"):
        read_stressed([other])
    with pytest.raises(ScoreError, match=r"nb, seed 0, under depth=0\.5 more than once"):
        read_stressed([good, good])
    assert len(read_stressed([good])) == 2 * 2 * 3 * 8


def of_fits(rng, folder, **change):
    """Files of three fits; ``change`` edits the table of the one that it names."""
    table, files = made(rng), []
    for loss, seed in (("nb", 0), ("nb", 1), ("zinb", 0)):
        part = table.query("likelihood == @loss and seed == @seed").reset_index(drop=True)
        files.append(folder / f"{loss}{seed}.parquet")
        write_table(files[-1], change.get(f"{loss}{seed}", lambda part: part)(part))
    return files


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nb1": lambda t: t[t["cell"] > "c3"]}, r"nb, seed 1, in .*nb1\.parquet lacks 4 of the 8 "
         r"of nb, seed 0, in .*nb0\.parquet, and has 0 that are not there; first: 'c0', case 0"),
        ({"zinb0": lambda t: t.assign(cell="x" + t["cell"])},
         r"depth=0\.5, but zinb, seed 0, in .*zinb0\.parquet lacks 8 of the 8 .* and has 8"),
        ({"nb1": lambda t: t[(t["level"] == 0.5) | (t["cell"] != "c7")]}, r"depth=0\.1, .* 1 of"),
        ({"nb1": lambda t: t.assign(case=1)}, "lacks 8 of the 8"),
    ],
)  # fmt: skip
def test_fits_that_do_not_hold_the_same_cells_are_refused(rng, tmp_path, change, words):
    with pytest.raises(ScoreError, match=words):
        read_stressed(of_fits(rng, tmp_path, **change))


@pytest.mark.parametrize("name", ["own", "refitted", "null", "clean_own", "clean_null", "level"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_refused(rng, tmp_path, name, value):
    def edit(table):
        return table.assign(**{name: table[name].where(table.index != 3, value)})

    words = rf"nb1\.parquet: `{name}` must hold finite numbers, but 1 of 16 .*: '{value}' .* 'c3'"
    with pytest.raises(ScoreError, match=words):
        read_stressed(of_fits(rng, tmp_path, nb1=edit))


def test_what_may_be_unknown_is_not_infinite_and_no_word(rng, tmp_path):
    files = of_fits(rng, tmp_path, nb1=lambda t: t.assign(oracle=np.nan, latent_depth=np.nan))
    assert len(read_stressed(files)) == 3 * 2 * 8
    for value in (np.inf, "deep"):
        files = of_fits(rng, tmp_path, nb1=lambda t, v=value: t.assign(latent_depth=v))
        with pytest.raises(ScoreError, match="`latent_depth` must hold finite numbers"):
            read_stressed(files)
    with pytest.raises(ScoreError, match=r"nb0\.parquet: must hold scores of cells, but is empty"):
        read_stressed(of_fits(rng, tmp_path, nb0=lambda t: t[:0]))


def test_cells_are_those_of_the_counts(rng, tmp_path):
    """Where donors are wanted; else a cell without one ended in a traceback."""
    files, cells = of_fits(rng, tmp_path), [f"c{k}" for k in range(8)]
    assert {*read_stressed(files, cells).columns} == {*made(rng).columns}
    with pytest.raises(ScoreError, match="in --counts, but 2 of its cells .* first: 'c0'"):
        read_stressed(files, cells[2:])
