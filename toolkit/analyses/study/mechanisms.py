"""Where a difference between two sides of a claim lies, in numbers of both: one function a mechanism.

Each takes the processes of side a and of side b, and gives rows of both with one sentence, or None where neither side
tells anything of it. Single figures are medians over processes; parts are of the process in the middle, so that they
sum to its whole.
"""

from collections.abc import Mapping

from toolkit.analyses.study.mechanism_rows import Teller
from toolkit.analyses.study.resource_mechanisms import blocks, loss, network, percentages, power
from toolkit.analyses.study.time_mechanisms import between_epochs, first_epoch, ledger, scaling, tracing, validation

MECHANISMS: Mapping[str, Teller] = {
    "ledger": Teller("the parts of an epoch, which sum to it", ledger),
    "first_epoch": Teller("epoch 1 beside the later ones, and what of it is compiling", first_epoch),
    "between_epochs": Teller("the gap between epochs, beside what a sensor of utilisation can see", between_epochs),
    "validation": Teller("validation inside what is timed, and the ratio without it", validation),
    "loss": Teller("the mean loss and its sum over an epoch, of both sides alike", loss),
    "percentages": Teller("what percentages of processor and memory are of", percentages),
    "blocks": Teller("memory reserved and in use, and how often more was asked for", blocks),
    "network": Teller("what differs in what runs, by its own description", network),
    "tracing": Teller("a request, and what comes before the first timed one", tracing),
    "power": Teller("power, images a joule and utilisation of the GPU", power),
    "scaling": Teller("samples a second of replicas beside each other", scaling),
}
