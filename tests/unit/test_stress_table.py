"""Changes and leads with intervals over cells and seeds, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from countae.errors import ScoreError
from countae.files import write_table
from countae.stress_table import parted, read_stressed, summarised


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


def test_the_best_loss_is_that_of_the_score_not_of_the_change(rng):
    """Poisson, bad on clean counts, gains most from less depth, and is worse all the same."""
    table = made(rng, losses=("nb", "poisson", "zinb"), levels=(0.1,), seeds=3, cells=60)
    noise = rng.normal(scale=0.01, size=len(table))
    at = table["likelihood"].map({"nb": 0.5, "poisson": 0.7, "zinb": 0.5}) + noise
    clean = table["likelihood"].map({"nb": 1.0, "poisson": 2.0, "zinb": 1.0})
    table = table.assign(own=at, clean_own=clean, null=0.6, clean_null=1.5, oracle=np.nan)
    found = summarised(table, level=0.05)["tests"]["depth"]
    change = {row["likelihood"]: row["change"]["value"] for row in found["rows"]
              if row["level"] == 0.1 and row["noise"] == "own"}  # fmt: skip
    assert change["poisson"] < change["nb"] < 0
    assert found["compared"]["best"] in ("nb", "zinb")
    told = found["sentence"]
    best, near = ("NB", "ZINB") if found["compared"]["best"] == "nb" else ("ZINB", "NB")
    assert told.startswith(f"At 0.1 {best} has the best score (lead over the refitted null +0.1")
    assert f"; {near} cannot be told from it." in told
    assert "behind it: Poisson. Ahead of it on clean counts, but no longer: none." in told


def test_losses_are_told_apart_by_their_paired_differences(rng):
    """Cells differ by far more than losses do: intervals overlap, the paired one holds no 0."""
    table = made(rng, levels=(0.1,), seeds=2, cells=60)
    of_cell = {f"c{k}": value for k, value in enumerate(rng.normal(scale=5, size=60))}
    gap = 0.02 * table["likelihood"].eq("zinb") + rng.normal(scale=0.01, size=len(table))
    table["own"] = table["cell"].map(of_cell) + gap
    found = summarised(table, level=0.05)["tests"]["depth"]
    ends = {row["likelihood"]: row["change"] for row in found["rows"] if row["level"] == 0.1}
    assert ends["nb"]["high"] > ends["zinb"]["low"]
    assert found["compared"]["best"] == "nb"
    one, other = (
        table[table["likelihood"] == loss].pivot(index="seed", columns="cell", values="own")
        for loss in ("nb", "zinb")
    )
    expected = (other - one).to_numpy()
    behind = found["compared"]["behind"]["zinb"]
    assert behind["value"] == pytest.approx(expected.mean())
    cells, seeds = expected.mean(axis=0).var(ddof=1) / 60, expected.mean(axis=1).var(ddof=1) / 2
    freedom = (cells + seeds) ** 2 / (cells**2 / 59 + seeds**2)
    half = max(stats.t.ppf(0.975, freedom), 2) * np.sqrt(cells + seeds)
    assert behind["high"] - behind["value"] == pytest.approx(half)
    assert found["sentence"].startswith("At 0.1 NB predicts best (lead")
    assert "cannot be told" not in found["sentence"]


def test_a_lead_on_clean_counts_that_is_gone_is_said(rng):
    """By name, also where the loss is still the best."""
    table = made(rng, losses=("nb", "zinb"), cells=40)
    table = table.assign(clean_null=table["clean_own"] + 1, null=table["own"] - 1)
    told = summarised(table, level=0.05)["tests"]["depth"]["sentence"]
    assert "Ahead of the refitted null: none; not told from it: none; behind it: " in told
    assert "Ahead of it on clean counts, but no longer: " in told
    assert told.endswith(("NB, ZINB.", "ZINB, NB."))


def test_the_distance_to_the_truth_is_said_where_it_is_known(rng):
    table = made(rng, losses=("nb",))
    table["oracle"] = table["own"] - 0.25
    told = summarised(table, level=0.05)["tests"]["depth"]["sentence"]
    assert "At 0.1 the lead of NB over the refitted null is" in told
    assert "it is +0.250, +0.250 to +0.250 above the truth." in told
    assert (
        "truth"
        not in (summarised(made(rng, oracle=np.nan), level=0.05)["tests"]["depth"]["sentence"])
    )


GROUPS = ("B cell", "T cell", "<b>NK</b>")


def of_groups(rng, lead=(0.3, 0.3, -0.3), **given):
    """A test of three left-out groups, of other cells each, in which NB leads by ``lead``."""
    tables = []
    for case, (name, ahead) in enumerate(zip(GROUPS, lead, strict=True)):
        one = made(rng, test="cell_type_shift", levels=(1.0,), cells=20, **given)
        one = one.assign(case=case, group=name, cell=f"{case}-" + one["cell"])
        noise = rng.normal(scale=0.01, size=len(one))
        gap = one["likelihood"].map({"nb": ahead, "zinb": -0.2}) + noise
        tables.append(one.assign(null=one["own"] + gap))
    return pd.concat(tables, ignore_index=True)


def test_each_left_out_group_has_rows_of_its_own_with_intervals_over_its_cells(rng):
    table = of_groups(rng)
    test = summarised(table, level=0.05)["tests"]["cell_type_shift"]
    assert list(test["by_group"]) == list(GROUPS)
    alone = table[table["group"] == "T cell"]
    for row in test["by_group"]["T cell"]:
        assert row["cells"] == 20
        of_loss = alone[alone["likelihood"] == row["likelihood"]]
        noise = row["noise"] if row["level"] == 1.0 else f"clean_{row['noise']}"
        null = "null" if row["level"] == 1.0 else "clean_null"
        gap = (of_loss[null] - of_loss[noise]).to_numpy().reshape(3, 20)
        assert row["lead"]["value"] == pytest.approx(gap.mean())
        cells, seeds = gap.mean(axis=0).var(ddof=1) / 20, gap.mean(axis=1).var(ddof=1) / 3
        freedom = (cells + seeds) ** 2 / (cells**2 / 19 + seeds**2 / 2)
        half = max(stats.t.ppf(0.975, freedom), 2) * np.sqrt(cells + seeds)
        assert row["lead"]["high"] - row["lead"]["value"] == pytest.approx(half)


def test_a_lead_is_claimed_only_of_the_groups_where_it_holds(rng):
    """Over the cells of all three NB is ahead for sure; of one group it is behind."""
    test = summarised(of_groups(rng), level=0.05)["tests"]["cell_type_shift"]
    whole = next(row for row in test["rows"] if row["level"] == 1.0 and row["noise"] == "own")
    assert whole["lead"]["low"] > 0
    told = test["sentence"]
    assert "over cells of these 3 groups, and seeds, not over groups," in told
    assert "Beats the refitted null in 2 of 3 groups, not in '<b>NK</b>': NB;" in told
    assert "in none of 3 groups: ZINB." in told
    assert "Ahead of the refitted null" not in told
    assert test["over"] == "cells of these 3 groups, and seeds, not over groups"


def test_a_lead_that_may_be_none_is_not_claimed_of_its_group(rng):
    table = of_groups(rng, lead=(0.3, 0.3, 0.0))
    test = summarised(table, level=0.05)["tests"]["cell_type_shift"]
    rows = test["by_group"][GROUPS[2]]
    lead = next(r["lead"] for r in rows if r["level"] == 1.0 and r["likelihood"] == "nb")
    assert lead["low"] < 0 < lead["high"]
    assert "in 2 of 3 groups, not in '<b>NK</b>': NB;" in test["sentence"]


def test_a_lead_in_all_groups_or_in_the_only_one_is_said_so(rng):
    table = of_groups(rng, lead=(0.3, 0.3, 0.3))
    told = summarised(table, level=0.05)["tests"]["cell_type_shift"]["sentence"]
    assert "Beats the refitted null in all 3 groups: NB;" in told
    told = summarised(table[table["case"] == 1], level=0.05)["tests"]["cell_type_shift"]
    assert "Beats the refitted null in 'T cell': NB; not in 'T cell': ZINB." in told["sentence"]
    assert told["over"] == "cells of the left-out group, and seeds"


def test_where_groups_are_donors_errors_are_over_these(rng):
    table = of_groups(rng)
    by_group = {cell: f"donor {cell[0]}" for cell in table["cell"]}
    across = {cell: f"donor {cell[-1]}" for cell in table["cell"]}
    over = [summarised(table, level=0.05, donors=who)["tests"]["cell_type_shift"]["over"]
            for who in (by_group, across)]  # fmt: skip
    assert over == [
        "these 3 donors, and seeds", "donors of these 3 groups, and seeds, not over groups"
    ]  # fmt: skip


def test_tables_of_before_have_the_number_of_a_case_as_its_name(rng):
    table = of_groups(rng).drop(columns="group")
    test = summarised(table, level=0.05)["tests"]["cell_type_shift"]
    assert list(test["by_group"]) == ["case 0", "case 1", "case 2"]
    mixed = of_groups(rng)
    mixed.loc[mixed["likelihood"] == "nb", "group"] = np.nan  # one loss is of before
    test = summarised(mixed, level=0.05)["tests"]["cell_type_shift"]
    assert list(test["by_group"]) == list(GROUPS)


def diverged(likelihood, seed, level=0.1):
    return {"test": "depth", "level": level, "group": "", "likelihood": likelihood, "seed": seed,
            "reason": "not finite"}  # fmt: skip


def test_a_fit_that_diverged_leaves_its_seed_out_and_is_named(rng):
    table = made(rng)
    gone = (table["likelihood"] == "zinb") & (table["seed"] == 2) & (table["level"] == 0.1)
    found = summarised(table[~gone], level=0.05, left_out=[diverged("zinb", 2)])
    assert row_of(found, "zinb", 0.1)["seeds"] == 2
    assert row_of(found, "zinb", 0.5)["seeds"] == 3
    assert found["tests"]["depth"]["sentence"].endswith(
        "Fits that diverged have no result: ZINB at 0.1 (seed 2)."
    )
    both = table[table["seed"] < 2]
    best, *other = sorted(("nb", "zinb"), key=lambda name: row_of(found, name, 0.1)["score"])
    score = {
        loss: both.query("likelihood == @loss and level == 0.1")["own"].mean()
        for loss in (best, *other)
    }
    behind = found["tests"]["depth"]["compared"]["behind"][other[0]]["value"]
    assert behind == pytest.approx(score[other[0]] - score[best])


def test_a_loss_all_of_whose_fits_diverged_has_no_row(rng):
    table = made(rng)
    gone = (table["likelihood"] == "zinb") & (table["level"] == 0.1)
    reasons = [diverged("zinb", seed) for seed in range(3)]
    found = summarised(table[~gone], level=0.05, left_out=reasons)
    with pytest.raises(StopIteration):
        row_of(found, "zinb", 0.1)
    assert "ZINB at 0.1 (seed 0, 1, 2)" in found["tests"]["depth"]["sentence"]
    assert found["left_out"] == reasons


def test_a_seed_that_lacks_a_group_counts_in_the_others_only(rng):
    """Else the groups' means would be mixed in other proportions."""
    table = of_groups(rng)
    gone = (table["likelihood"] == "nb") & (table["seed"] == 0) & (table["case"] == 1)
    test = summarised(table[~gone], level=0.05)["tests"]["cell_type_shift"]
    nb = {group: row["seeds"] for group, rows in test["by_group"].items() for row in rows
          if row["likelihood"] == "nb" and row["level"] == 1.0}  # fmt: skip
    assert nb == dict(zip(GROUPS, (3, 2, 3), strict=True))
    assert [r["seeds"] for r in test["rows"] if r["likelihood"] == "nb"] == [2] * 4


def test_a_loss_without_a_result_in_one_group_has_none_in_all_of_them(rng):
    """Its mean over the other groups is no match for that of the losses which have all."""
    table = of_groups(rng)
    table = table[(table["likelihood"] != "nb") | (table["case"] != 2)]
    test = summarised(table, level=0.05)["tests"]["cell_type_shift"]
    assert {row["likelihood"] for row in test["rows"]} == {"zinb"}
    assert "nb" in {row["likelihood"] for row in test["by_group"]["B cell"]}
    assert "in all 2 groups: NB" in test["sentence"]
    assert test["compared"] == {"level": 1.0, "best": "zinb", "behind": {}}
    table = table[(table["likelihood"] != "zinb") | (table["case"] != 0)]
    test = summarised(table, level=0.05)["tests"]["cell_type_shift"]
    assert (test["rows"], test["compared"]) == ([], None)
    assert test["sentence"] == "No loss has a result in all of it."


def test_reasons_are_read_once_and_tables_without_rows_apart(rng, tmp_path):
    full, empty = tmp_path / "full.parquet", tmp_path / "empty.parquet"
    reason = diverged(None, None)
    for path, table in ((full, made(rng)), (empty, made(rng).iloc[:0])):
        table.attrs["left_out"] = [reason]
        write_table(path, table)
    assert parted([full, empty]) == ([full], [reason])
    table.attrs["left_out"] = ["x"]
    write_table(empty, table)
    with pytest.raises(ScoreError, match=r"empty.parquet.*what was left out"):
        parted([empty])
    write_table(empty, made(rng).iloc[:0])  # nothing at all is for `read_stressed` to judge
    assert parted([empty]) == ([empty], [])


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
