"""How counts of chosen cells are read while a network trains, one file each."""

from countae.registry import Registry

registry = Registry(__name__, "loader")
register, get, names, check = registry.register, registry.get, registry.names, registry.check
