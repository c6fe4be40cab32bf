"""What the terms of a report mean, shown where they stand and listed at its end."""

DEFINITIONS = {
    "trusted": "No record contradicts another and nothing is known to be missing. What is not trusted says why.",
    "residual": "How far the ends of the trace's annotations lie from the worker's own clock reads around them.",
    "profiler cost": "A step of the profiled window over one of the same steps unprofiled, one process each.",
    "epoch ledger": "Where an epoch's wall time went on the host. Its parts sum to the wall time exactly.",
    "data wait": "Starting the input pipeline, and waiting for the next batch.",
    "host to device": "Handing the batch to the device.",
    "compute": "Forward, backward and update as the host sees them, and at the epoch's end the wait for the device.",
    "compile": "Steps in which a graph was traced or compiled, their first execution included.",
    "validation": "Evaluating on the validation samples after an epoch.",
    "callbacks": "Metrics, counters and callbacks between steps.",
    "checkpoint": "Writing the model's state.",
    "profiler": "Starting the profiler, telling it of steps, writing its trace.",
    "other": "What no phase covers: what the loop itself does between its phases.",
    "between epochs": "From the moment the device had done an epoch's last training step to the next one's first.",
    "step": "A training step on the host, data wait included. On a GPU it ends when its work is asked for.",
    "median": "Half of the steps took less.",
    "p10": "A tenth of the steps took less.",
    "p90": "Nine tenths of the steps took less.",
    "p99": "Of a hundred requests, all but one took no longer.",
    "own": "Without the operators inside it.",
    "total": "With the operators inside it.",
    "busy": "Any kernel, copy or set runs on the device.",
    "idle": "Nothing runs on the device, within its span.",
    "exposed communication": "Collectives that no computing kernel hides.",
    "exposed memory": "Copies and sets that neither kernels nor collectives hide.",
    "in use": "Memory in blocks that tensors use.",
    "reserved": "Memory that the framework's allocator got from the driver or the system.",
    "on the device": "Of a GPU, by NVML, less what was before the worker; of the host, what is resident of the worker.",
    "unexplained": "On the device, less reserved (less in use, where nothing is reserved): context, libraries, others.",
    "fragmentation": "The allocator's own: inactive split over reserved, or free outside the largest block over free.",
    "power": "What the driver's sensor told; each value is the mean over the sensor's own window.",
    "utilisation": "Of a GPU, the share of time with any kernel, by NVML; of the host, the worker's processor time.",
    "counter": "The difference of the driver's energy counter over the window.",
    "integral": "The sum of a power sensor's values over the window, each set back to the middle of its mean.",
    "MFU": "Model FLOPs utilisation: FLOPs the model needs a second, over the device's peak by its data sheet.",
    "kernel category": "What a kernel does, by one table of rules; XLA's work by its HLO category.",
    "device": "The number that the trace gives; the host's allocator is cpu.",
    "interval": "Covers the truth in the stated share of experiments; one value stands for one fresh process.",
    "verdict": "A difference is claimed where the whole interval lies outside the margin, else none is shown.",
    "best batch": "Of those measured, the one with the best median; what is not told from it may be as good.",
}  # fmt: skip


def anchor(term: str) -> str:
    """The id of a term's definition."""
    return "def-" + "-".join(term.lower().split())
