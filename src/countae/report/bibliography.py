"""BibTeX of what a report cites."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from countae import __version__

FILE = Path(__file__).with_name("references.bib")
OWN = f"""@software{{countae,
  author = {{{{The countae developers}}}},
  title = {{countae: which loss tells the statistical story of single-cell counts}},
  version = {{{__version__}}}
}}"""
SPECIAL = re.compile(r"([#$%&_{}])")


@cache
def known() -> dict[str, str]:
    """Entries of references.bib by DOI; one a line there, one field a line here."""
    entries = {}
    for line in FILE.read_text(encoding="utf-8").splitlines():
        doi = line.rpartition("doi = {")[2].removesuffix("}}")
        entries[doi] = re.sub(r", (?=[a-z]+ = \{)", ",\n  ", line[:-1]) + "\n}"
    return entries


def bibtex(references: list[tuple[str, str, str]]) -> str:
    """Entries for what is cited, each once, and for countae itself.

    Parameters
    ----------
    references : list of (what, identifier, address)
        From :func:`countae.report.methods.references`. What is not known here, such as a plugin's
        loss, becomes an entry of its name and identifier.
    """
    entries = {"": OWN}
    for what, identifier, _ in references:
        doi = identifier.removeprefix("doi:")
        entries.setdefault(identifier, known().get(doi) or _unknown(what, identifier))
    return "\n\n".join(entries.values())


def _unknown(what: str, identifier: str) -> str:
    """An entry of which only the identifier is known: a DOI, an ISBN, an address."""
    kind, _, value = identifier.partition(":")
    field = kind if kind in ("doi", "isbn") and value else "note"
    key = re.sub(r"[^A-Za-z0-9]+", "", identifier) or "reference"
    said = value if field != "note" else SPECIAL.sub(r"\\\1", identifier)
    title = SPECIAL.sub(r"\\\1", what.replace("\\", ""))
    return f"@misc{{{key},\n  title = {{{title}}},\n  {field} = {{{said}}}\n}}"
