"""What is read beside the worker, in a process of its own; the only place that imports pynvml."""
