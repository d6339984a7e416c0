"""What the methods section says of the network, from the options that the fits really had."""

from __future__ import annotations

from typing import Any

from countae import config
from countae.wording import listed

NORMS = {"layer": "LayerNorm and ", "batch": "BatchNorm and ", "none": ""}
ACTIVATIONS = {"relu": "ReLU", "linear": "no activation"}
TIED = "The decoder's layers and the output of the mean had the encoder's weights, transposed."
PREDICTED = (
    "The library size was not taken from the cell: the mean was multiplied by a size that the "
    "encoder predicted from the visible counts, except in losses whose target contains the size "
    "factor."
)
MOVED = (
    "A cell that is predicted was moved by at most {latent_steps} steps from the encoder's latent "
    "coordinates towards those that fit its visible counts best by the loss (semi-amortised "
    "inference, Kim et al.); the validation cells chose how many."
)
VARIATIONAL_REFERENCE = {"Variational bottleneck (Kingma and Welling)": "10.48550/arXiv.1312.6114"}
MOVED_REFERENCE = {"Semi-amortised inference (Kim et al.)": "10.48550/arXiv.1802.02550"}


def network_text(network: dict[str, Any], shown: dict[str, str]) -> str:
    """Sentences on the autoencoder.

    Parameters
    ----------
    network : dict
        A fit's section ``network``; what it lacks has the default.
    shown : dict
        The same in words, where losses differ each value with its losses.
    """
    network = config.defaults("network") | network
    said = [
        f"Each loss trained the same autoencoder: encoder widths {shown['hidden']}, mirrored in "
        f"the decoder, a bottleneck of {shown['latent']}, hidden layers with "
        f"{NORMS[network['norm']]}{ACTIVATIONS[network['activation']]}, dropout "
        f"{shown['dropout']}."
    ]
    if network["weights"] == "tied":
        said.append(TIED)
    if is_variational(network):
        said.append(_variational(network))
    if network["conditions"]:
        said.append(
            f"Encoder and decoder were told each cell's {listed(network['conditions'])}, and the "
            "export's denoised counts are those of the cell's own."
        )
    if network["library"] == "predicted":
        said.append(PREDICTED)
    if network["latent_steps"]:
        said.append(MOVED.format(**network))
    return " ".join(said)


def references_of(network: dict[str, Any]) -> dict[str, str]:
    """What the sentences on a fit's network refer to, and its DOI."""
    found = VARIATIONAL_REFERENCE if is_variational(network) else {}
    return found | (MOVED_REFERENCE if network.get("latent_steps") else {})


def is_variational(network: dict[str, Any]) -> bool:
    """Whether latent coordinates were drawn in training."""
    return network.get("bottleneck") == "variational"


def _variational(network: dict[str, Any]) -> str:
    """How the bottleneck was sampled and weighted."""
    rising = (
        f", rising over the first {network['kl_warm_up']} epochs, from which no weights were kept"
        if network["kl_warm_up"]
        else ""
    )
    return (
        "The bottleneck was variational (Kingma and Welling): in training the latent coordinates "
        "were drawn from a normal, whose Kullback-Leibler divergence from the standard normal, "
        f"over the number of predicted counts, was added to the loss with weight "
        f"{network['kl_weight']}{rising}; validation losses and predictions took its mean."
    )


def short_epochs(record: dict[str, Any], cells: int) -> str:
    """What an epoch was where it was less than a pass over the training cells."""
    training = record["training"]
    steps = training.get("epoch_steps", cells)  # records of earlier versions have none
    if cells <= steps * training["batch_size"]:
        return ""
    return f" An epoch was {steps:,} steps, each with cells that the epoch had not seen."
