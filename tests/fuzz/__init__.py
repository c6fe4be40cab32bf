"""Coverage-guided fuzzing of the importers, one harness each: `make fuzz MINUTES=10`."""
