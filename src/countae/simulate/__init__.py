"""Counts with known truth, one family per file."""

from countae.registry import Registry

registry = Registry(__name__, "simulator")
register, get, names, check = registry.register, registry.get, registry.names, registry.check
