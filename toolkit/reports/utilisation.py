"""How the terminal report shows what the model's arithmetic came to, and what share of the device's peak that is."""

from collections.abc import Iterable, Sequence

from rich.text import Text

from toolkit.analyses.utilisation import INFERENCE, TRAINING, Utilisation
from toolkit.own_spec import TIMED

# Factor -> its name before FLOP.
UNITS = {1e12: "T", 1e9: "G", 1e6: "M"}


def utilisation_lines(entries: Sequence[Utilisation]) -> Iterable[Text]:
    """Of the time pass: training after epoch 1, where there is more, and inference at the batch that does most."""
    mine = [entry for entry in entries if entry.pass_name in TIMED]
    if training := [entry for entry in mine if entry.what == TRAINING]:
        yield _line(training[-1], f"in training, epoch {training[-1].epoch}")
    if inference := [entry for entry in mine if entry.what == INFERENCE]:
        best = max(inference, key=lambda entry: entry.flops_per_s)
        yield _line(best, f"in inference at batch {best.batch}")


def flops(count: float) -> str:
    """FLOPs, or FLOP/s, in the unit that suits them."""
    factor = next((factor for factor in UNITS if count >= factor), 1e6)
    return f"{count / factor:,.2f} {UNITS[factor]}FLOP"


def _line(entry: Utilisation, where: str) -> Text:
    counted = f"{flops(entry.sample_flops)} a sample, {entry.counted}"
    line = Text.assemble(f"model {flops(entry.flops_per_s)}/s {where} ({counted})")
    if entry.mfu is None or entry.peak_flops_per_s is None:
        return line.append(f" · no MFU: {entry.reason}", "dim")
    line.append(f" · MFU {entry.mfu:.1%}", "bold")
    several = f" of {entry.devices} GPUs" if entry.devices > 1 else ""
    return line.append(f" of {flops(entry.peak_flops_per_s)}/s {entry.precision}{several} ({entry.peak_source})")
