"""Makes `raw/`: launches workers and samplers, and imports nothing of the analysis side."""
