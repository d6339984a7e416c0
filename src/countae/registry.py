"""Things that are found by the name of their file: likelihoods, metrics, stress tests and more."""

from __future__ import annotations

import difflib
import importlib
import os
import pkgutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from countae.errors import ConfigError

Member = TypeVar("Member")
PLUGINS = "COUNTAE_PLUGINS"  # environment variable, so that every process of a run knows them


def use_plugins(folder: str | Path) -> None:
    """Look for further members below ``folder``: ``likelihoods/<name>.py``, ``metrics/…``.

    Holds for this process and those that it starts.

    Raises
    ------
    ConfigError
        When there is no such folder.
    """
    path = Path(folder).absolute()
    if not path.is_dir():
        raise ConfigError(
            f"{path}: `plugins` must be a folder with likelihoods/, metrics/, baselines/, "
            "simulate/ or stress/ in it, but there is none. Fix: name it relative to the folder "
            "in which the command runs."
        )
    os.environ[PLUGINS] = str(path)


def plugin_files(package: str) -> list[Path]:
    """Files of a package's further members, sorted; none unless plugins are used."""
    folder = os.environ.get(PLUGINS)
    if not folder:
        return []
    files = Path(folder, package.rsplit(".", 1)[-1]).glob("*.py")
    return sorted(path for path in files if not path.name.startswith("_"))


def shown(name: object, width: int = 60) -> str:
    """A name from a file as a message may quote it: on one line, cut when it is long."""
    text = name if isinstance(name, str) else str(name)
    return repr(text) if len(text) <= width else f"{text[:width]!r}… ({len(text):,} characters)"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Sentence that proposes the nearest known name and lists the others."""
    known = sorted(_short(text) for text in known)
    near = difflib.get_close_matches(_short(name), known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    some = ", ".join(known[:20]) + (f", … ({len(known):,} in all)" if len(known) > 20 else "")
    return f"{hint}Known: {some or 'none'}."


def _short(name: object) -> str:
    """A name on one line and cut: names come from files, and comparing long ones takes minutes."""
    return " ".join(str(name)[:100].split())


class Registry:
    """Members of one package, one per file; the file's stem is the member's name.

    ``names`` lists the files without importing them, so that the command line can name every
    likelihood without loading torch; ``get`` imports the one that is asked for.
    """

    def __init__(self, package: str, kind: str) -> None:
        self.package, self.kind = package, kind
        self._members: dict[str, Any] = {}

    def register(self, name: str) -> Callable[[Member], Member]:
        """Decorator that enters a class or function under its file's stem."""

        def enter(member: Member) -> Member:
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
        package = importlib.import_module(self.package)
        own, *_ = package.__path__
        known = {m.name for m in pkgutil.iter_modules([own]) if not m.name.startswith("_")}
        for path in plugin_files(self.package):
            if path.stem in known:
                raise ConfigError(
                    f"{path}: there is a {self.kind} called {path.stem!r} already. Fix: give the "
                    "file, and the name in it, another name."
                )
            known.add(path.stem)
            if str(path.parent) not in package.__path__:
                package.__path__.append(str(path.parent))
        return sorted(known)

    def check(self, name: str) -> str:
        """Return ``name``; raise ConfigError with a proposal when there is no such member."""
        if name not in self.names():
            raise ConfigError(
                f"There is no {self.kind} called {name!r}. {did_you_mean(name, self.names())}"
            )
        return name

    def get(self, name: str) -> Any:
        """Return the member called ``name``, importing its file.

        Raises
        ------
        ConfigError
            When there is none, or when a plugin cannot be imported or registers nothing.
        """
        if name in self._members:
            return self._members[name]
        self.check(name)
        plugin = next((p for p in plugin_files(self.package) if p.stem == name), None)
        try:
            importlib.import_module(f"{self.package}.{name}")
        except (Exception, SystemExit) as error:  # a plugin may fail in any way
            if plugin is None:
                raise
            raise _unusable(
                plugin, f"cannot be imported: {type(error).__name__}: {error}"
            ) from error
        if plugin is not None and name not in self._members:
            raise _unusable(plugin, f"registers no {self.kind} called {name!r}")
        return self._members[name]


def _unusable(plugin: Path, found: str) -> ConfigError:
    """The error of a plugin that cannot be used."""
    return ConfigError(
        f"{plugin}: {found}. Fix: compare it with what `countae new-likelihood` writes."
    )
