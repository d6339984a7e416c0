"""What `countae explain` reads of a verdict.json, made up."""

from __future__ import annotations

AXIS = {
    "outcome": "tie", "reason": "They differ by less than matters.", "question": "Which is best?",
    "recommended": "nb", "aa_error": 0.02,
}  # fmt: skip
STEP = {"asserted": False, "reason": "Not shown.", "power": {"replicates": 0}}
VERDICT = {
    "dataset": "mine", "sentence": "mine: NB and ZINB predict equally well.",
    "titles": {"mse_log1p": "", "nb": "", "zinb": ""}, "seeds": [0, 1, 2],
    "n_test_cells": 140, "n_genes": 1200, "protocol": "masked", "errors_by": "cell",
    "genes": {"nb": 3, "zinb": 0, "tie": 10, "undecided": 1100, "not_testable": 87},
    "gene_pairs": [], "control": {"likelihood": "nb"}, "settings": {"bootstrap": 19},
    "axes": {"overall": AXIS, "zeros": AXIS | {"outcome": "abstain", "aa_error": None}},
    "story": {"family": "nb", "doubts": [], "reason": "NB counts."},
    "overdispersion": STEP, "zero_inflation": STEP, "protocols": {},
}  # fmt: skip
