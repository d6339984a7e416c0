"""A file to start a loss of one's own from."""

from __future__ import annotations

import re
from keyword import iskeyword
from pathlib import Path

from countae import baselines, likelihoods, peers, protocols
from countae.errors import ConfigError
from countae.files import written_aside

# words that stand where results name a loss
WORDS = {"referee", "tie", "undecided", "not_testable", "native"}
TEMPLATE = Path(likelihoods.__file__).with_name("_template.py")


def write(name: str, folder: Path) -> Path:
    """Write ``<folder>/<name>.py``: a complete loss under that name.

    Raises
    ------
    ConfigError
        When the name cannot be one, or is taken, or means something else in results, or the file
        is there.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or iskeyword(name):
        raise ConfigError(
            f"{name!r} cannot name a loss: it must be lower-case letters, digits and _, beginning "
            "with a letter, and no word of Python's own, like my_loss."
        )
    if name in likelihoods.names():
        raise ConfigError(f"There is a likelihood called {name!r} already. Fix: choose another.")
    meanings = (
        ("a baseline", baselines.names()),
        ("a peer", peers.names()),
        ("a hold-out protocol", protocols.names()),
        ("a word of the verdict or of its tables", WORDS),
    )
    for meaning, taken in meanings:
        if name in taken:
            raise ConfigError(
                f"{name!r} cannot name a loss: in results it is {meaning}, and the two would be "
                "taken for each other. Fix: choose another, like my_loss."
            )
    path = folder / f"{name}.py"
    if path.exists():
        raise ConfigError(f"{path}: is there already and is left as it is. Fix: choose another.")
    title = name.replace("_", " ").title().replace(" ", "")
    text = TEMPLATE.read_text().replace("_template", name).replace("Template", title)
    folder.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as aside:
        Path(aside).write_text(text)
    return path
