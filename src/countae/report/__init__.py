"""The report: one page, from tidy results, that opens from disk without a network."""

from __future__ import annotations

from pathlib import Path

__all__ = ["write_report"]


def write_report(
    folders: list[Path], output: Path, *, title: str, absent_peers: list[str] | None = None
) -> None:
    """Write the report of one or more data sets as a single HTML page.

    Parameters
    ----------
    folders : list of Path
        Results of one data set each, as the workflow left them (docs/architecture.md). With
        several, ``ranking.json`` beside the first is shown too.
    output : Path
        The .html file to write; it is written aside, then renamed.
    title : str
        Heading of the page.
    absent_peers : list of str, optional
        Peers that were asked for, but whose program was not there.

    Raises
    ------
    ScoreError
        When a file is missing or not what it should be, when two folders hold the same data set,
        or when the page would exceed 8 MB.
    """
    from countae.files import written_aside
    from countae.progress import tracked
    from countae.report.load import load
    from countae.report.page import render
    from countae.report.ranking import read_ranking

    folders = [Path(folder) for folder in folders]
    datasets = [
        load(folder) for folder in tracked(folders, "reading results", len(folders), "data sets")
    ]
    page = render(
        datasets, title=title, ranks=read_ranking(folders), absent_peers=absent_peers or []
    )
    with written_aside(output) as aside:
        aside.write_text(page, encoding="utf-8")
