"""Whether a verdict survives another protocol, on made-up verdicts."""

from __future__ import annotations

import pytest

from countae.protocol_verdict import compared


def verdict(outcome="tie", *, better="zinb", worse="mse_log1p"):
    pair = {
        "better": better, "worse": worse, "decision": "better", "difference": 0.02,
        "interval": (0.01, 0.03),
    }  # fmt: skip
    axis = {
        "outcome": outcome, "pairs": [pair], "best": better, "contenders": [better],
        "recommended": better, "scores": {}, "null": 1.0, "unit": "nats/entry",
        "confidence": "95 %",
    }  # fmt: skip
    return {"recommended": "nb", "sentence": "said.", "axes": {"overall": axis}}


@pytest.mark.parametrize(
    ("other", "survives", "words"),
    [
        (verdict(), True, "no loss is shown to be better than NB"),
        (verdict(worse="nb"), False, "ZINB is better than NB, ZINB by 0.0200 nats/entry"),
        (verdict("abstain", worse="nb"), None, "nobody can tell"),
    ],
)
def test_the_recommended_loss_survives_unless_another_is_better(other, survives, words):
    found = compared(verdict(), {"thinning": other})["thinning"]
    assert found["survives"] is survives
    assert words in found["reason"]


def test_an_abstaining_primary_verdict_cannot_be_compared():
    assert compared(verdict("abstain"), {"thinning": verdict()})["thinning"]["survives"] is None
