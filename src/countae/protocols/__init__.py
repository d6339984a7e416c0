"""Hold-out protocols, one file each: what a network sees and what it must predict."""

from countae.registry import Registry

registry = Registry(__name__, "hold-out protocol")
register, get, names, check = registry.register, registry.get, registry.names, registry.check
