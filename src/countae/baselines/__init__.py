"""References that are no autoencoder, one file each, predicting the same entries."""

from countae.registry import Registry

registry = Registry(__name__, "baseline")
register, get, names, check = registry.register, registry.get, registry.names, registry.check
baseline = register
