"""Whether the verdict survives another way of holding counts out."""

from __future__ import annotations

from typing import Any

from countae.wording import fixed, listed, short


def compared(primary: dict[str, Any], others: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The recommended loss of the primary verdict under other hold-out protocols.

    It survives where no loss is shown to be better than it, it fails where one is, and nobody
    can tell where the other verdict abstains or the primary one did.

    Parameters
    ----------
    primary : dict
        Content of verdict.json of the masked protocol.
    others : dict of dict
        The same of the others, by protocol.

    Returns
    -------
    dict by protocol of ``survives`` (bool or None), ``reason``, ``sentence``, ``outcome``,
    ``best``, ``contenders``, ``recommended``, ``scores`` and ``null``
    """
    return {name: _one(name, primary, other) for name, other in others.items()}


def _one(name: str, primary: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    chosen, axis = primary["recommended"], other["axes"]["overall"]
    beaten_by = [
        pair for pair in axis["pairs"] if pair["worse"] == chosen and pair["decision"] == "better"
    ]
    survives: bool | None = not beaten_by
    if "abstain" in (axis["outcome"], primary["axes"]["overall"]["outcome"]):
        survives = None
    kept = ("outcome", "best", "contenders", "recommended", "scores", "null")
    return {
        "survives": survives,
        "reason": _reason(name.replace("_", " "), chosen, survives, beaten_by, axis),
        "sentence": other["sentence"],
    } | {key: axis[key] for key in kept}


def _reason(
    name: str,
    chosen: str,
    survives: bool | None,
    beaten_by: list[dict[str, Any]],
    axis: dict[str, Any],
) -> str:
    if survives is None:
        return f"Under {name} nobody can tell: one of the two verdicts abstains."
    if survives:
        return f"Under {name} no loss is shown to be better than {short(chosen)}."
    most = max(beaten_by, key=lambda pair: pair["difference"])
    low, high = most["interval"]
    winners = listed([short(pair["better"]) for pair in beaten_by])
    return (
        f"Under {name} {winners} {'is' if len(beaten_by) == 1 else 'are'} better than "
        f"{short(chosen)}, {short(most['better'])} by {fixed(most['difference'])} {axis['unit']} "
        f"({axis['confidence']} interval {fixed(low)} to {fixed(high)})."
    )
