"""The losses, one file each; the file's stem is the name used in the configuration.

As a library, their classes are found here by name, and imported when they are asked for::

    from countae.likelihoods import NegativeBinomial

See docs/howto-likelihoods-as-a-library.md.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from countae.registry import Registry, plugin_files

if TYPE_CHECKING:  # for editors and type checkers alone; `__getattr__` needs no list
    from countae.likelihoods._base import Likelihood as Likelihood
    from countae.likelihoods._distribution import CountDistribution as CountDistribution
    from countae.likelihoods.beta_binomial import BetaBinomial as BetaBinomial
    from countae.likelihoods.dirichlet_multinomial import (
        DirichletMultinomial as DirichletMultinomial,
    )
    from countae.likelihoods.gaussian import Gaussian as Gaussian
    from countae.likelihoods.huber import Huber as Huber
    from countae.likelihoods.hurdle_nb import HurdleNegativeBinomial as HurdleNegativeBinomial
    from countae.likelihoods.hurdle_nb_focal import (
        HurdleNegativeBinomialFocal as HurdleNegativeBinomialFocal,
    )
    from countae.likelihoods.l1 import AbsoluteError as AbsoluteError
    from countae.likelihoods.mahalanobis_mse import MahalanobisMse as MahalanobisMse
    from countae.likelihoods.mse_counts import MseCounts as MseCounts
    from countae.likelihoods.mse_log1p import MseLog1p as MseLog1p
    from countae.likelihoods.multinomial import Multinomial as Multinomial
    from countae.likelihoods.nb import NegativeBinomial as NegativeBinomial
    from countae.likelihoods.nb_batch import NegativeBinomialPerBatch as NegativeBinomialPerBatch
    from countae.likelihoods.nb_cell import NegativeBinomialPerCell as NegativeBinomialPerCell
    from countae.likelihoods.poisson import Poisson as Poisson
    from countae.likelihoods.poisson_lognormal import PoissonLognormal as PoissonLognormal
    from countae.likelihoods.weighted_mse import WeightedMse as WeightedMse
    from countae.likelihoods.zinb import (
        ZeroInflatedNegativeBinomial as ZeroInflatedNegativeBinomial,
    )
    from countae.likelihoods.zinb_gene import (
        ZeroInflatedNegativeBinomialPerGene as ZeroInflatedNegativeBinomialPerGene,
    )
    from countae.likelihoods.zinb_logistic import (
        ZeroInflatedNegativeBinomialLogistic as ZeroInflatedNegativeBinomialLogistic,
    )
    from countae.likelihoods.zip import ZeroInflatedPoisson as ZeroInflatedPoisson

registry = Registry(__name__, "likelihood")
register, get, names, check = registry.register, registry.get, registry.names, registry.check


def _classes() -> dict[str, str]:
    """Registered name of each class that a loss's file registers, read from the files."""
    found = {}
    for path in [*Path(__file__).parent.glob("[a-z]*.py"), *plugin_files(__name__)]:
        text = path.read_text(encoding="utf-8")
        for name, member in re.findall(r'^@register\("(\w+)"\)\nclass (\w+)', text, re.MULTILINE):
            found[member] = name
    return found


def __getattr__(name: str) -> Any:
    """Import the loss whose class is asked for; Torch is loaded only then."""
    if name == "CountDistribution":
        from countae.likelihoods._distribution import CountDistribution

        return CountDistribution
    if name == "Likelihood":
        from countae.likelihoods._base import Likelihood

        return Likelihood
    member = _classes().get(name) if name[:1].isupper() else None
    if member is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return get(member)


def __dir__() -> list[str]:
    """Everything that can be asked for, also what is not imported yet."""
    return sorted({*globals(), *_classes(), "CountDistribution", "Likelihood"})
