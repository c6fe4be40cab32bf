"""hwprof: run the same workload in several frameworks, and say where its time, memory and energy went."""

__version__ = "0.1.0"
