"""The data inside the page: safe in a script element, by column, compressed where long."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from typing import Any

from countae.report.load import Dataset
from countae.report.look import rounded
from countae.wording import short

MANY_GENES = 10_000  # tables above are compressed, and so are tables of several data sets
LONG_DATA = 40  # rows from which a figure's data are stored by column
LONG_FIGURES = 1_000_000  # characters from which all figures are compressed
FEW_DIGITS = 3  # significant, where all genes would not fit otherwise


def packed(content: Any) -> str:
    """JSON, compressed, as text; the browser's DecompressionStream reads it."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def embedded(content: Any) -> Any:
    """JSON that is safe inside a script element, whatever names it holds."""
    from markupsafe import Markup

    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def embedded_figures(figures: dict[str, Any]) -> Any:
    """Specifications by identifier; compressed where they are long."""
    whole = embedded(figures)
    return whole if len(whole) < LONG_FIGURES else embedded({"packed": packed(figures)})


def bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script."""
    import vl_convert

    code = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return code.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def by_column(spec: Any) -> Any:
    """A specification with long data stored by column, which takes half the space."""
    if isinstance(spec, list):
        return [by_column(item) for item in spec]
    if not isinstance(spec, dict):
        return spec
    rows = spec.get("values")
    if isinstance(rows, list) and len(rows) >= LONG_DATA and isinstance(rows[0], dict):
        return {"columns": {name: [row[name] for row in rows] for name in rows[0]}}
    return {key: by_column(value) for key, value in spec.items()}


def gene_table(data: Dataset, room: int) -> dict[str, Any]:
    """Table of genes by column, for the browser, in about ``room`` bytes.

    Above 10,000 genes it is compressed. A table that has no room then is told in three digits,
    and one that still has none holds the genes on which the losses differ most.
    """
    genes = data.genes.sort_values("difference", ascending=False, kind="stable")
    labels = {name: f"log score {short(name.removeprefix('log_score_'))}"
              for name in genes if name.startswith("log_score_")}  # fmt: skip
    words = {"labels": labels, "names": {name: short(name) for name in data.losses}}

    def columns(kept: int, digits: int = 5) -> dict[str, Any]:
        part = genes.iloc[:kept]
        return {name: rounded(part[name].tolist(), digits) for name in genes.columns}

    whole = columns(len(genes))
    if len(genes) <= MANY_GENES and len(json.dumps(whole)) <= room:
        return words | {"n": len(genes), "columns": whole}
    text, kept = packed(whole), len(genes)
    if len(text) > room:
        text, kept = _that_fit(lambda n: packed(columns(n, FEW_DIGITS)), len(genes), room)
    return words | {"n": kept, "packed": text}


def panels(data: Dataset, room: int) -> dict[str, Any] | None:
    """Histograms of genes, in the order of the table of genes, in about ``room`` bytes.

    None where they were not measured.
    """
    if data.histograms is None:
        return None
    order = data.genes.sort_values("difference", ascending=False, kind="stable")["gene"].tolist()
    histograms = data.histograms.of_genes(order)
    units = histograms.units()

    def first(kept: int) -> str:
        return packed({name: [b[:kept] for b in bins] for name, bins in units.items()})

    text, kept = _that_fit(first, len(order), room)
    return {"n": kept, "bins": histograms.bins[: len(units[""])], "packed": text}


def _that_fit(pack: Callable[[int], str], n: int, room: int) -> tuple[str, int]:
    """The first genes, as many as fit, packed; and their number."""
    kept, text = n, pack(n)
    while len(text) > room and kept > 1:
        kept = max(1, int(0.97 * kept * room / len(text)))
        text = pack(kept)
    return text, kept
