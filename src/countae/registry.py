"""Things that are found by the name of their file: likelihoods, baselines, metrics, simulators."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable
from typing import Any

from countae.errors import ConfigError


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Sentence that proposes the nearest known name and lists the others."""
    known = sorted(map(str, known))
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    shown = ", ".join(known[:20]) + (f", … ({len(known):,} in all)" if len(known) > 20 else "")
    return f"{hint}Known: {shown or 'none'}."


class Registry:
    """Members of one package, one per file; the file's stem is the member's name.

    ``names`` lists the files without importing them, so that the command line can name every
    likelihood without loading torch; ``get`` imports the one that is asked for.
    """

    def __init__(self, package: str, kind: str) -> None:
        self.package, self.kind = package, kind
        self._members: dict[str, Any] = {}

    def register(self, name: str) -> Callable[[Any], Any]:
        """Decorator that enters a class or function under its file's stem."""

        def enter(member: Any) -> Any:
            stem = member.__module__.rsplit(".", 1)[-1]
            if name != stem:
                raise TypeError(
                    f"{self.kind} {name!r} must live in a file of that name, not {stem!r}"
                )
            self._members[name] = member
            return member

        return enter

    def names(self) -> list[str]:
        """Names of all members, sorted."""
        path = importlib.import_module(self.package).__path__
        return sorted(m.name for m in pkgutil.iter_modules(path) if not m.name.startswith("_"))

    def check(self, name: str) -> str:
        """Return ``name``; raise ConfigError with a proposal when there is no such member."""
        if name not in self.names():
            raise ConfigError(
                f"There is no {self.kind} called {name!r}. {did_you_mean(name, self.names())}"
            )
        return name

    def get(self, name: str) -> Any:
        """Return the member called ``name``, importing its file."""
        if name not in self._members:
            importlib.import_module(f"{self.package}.{self.check(name)}")
        return self._members[name]
