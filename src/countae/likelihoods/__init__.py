"""The losses, one file each; the file's stem is the name used in the configuration."""

from countae.registry import Registry

registry = Registry(__name__, "likelihood")
register, get, names, check = registry.register, registry.get, registry.names, registry.check
