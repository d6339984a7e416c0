"""Other programs' autoencoders, trained by their own code, one file each."""

from countae.registry import Registry

registry = Registry(__name__, "peer")
register, get, names, check = registry.register, registry.get, registry.names, registry.check
