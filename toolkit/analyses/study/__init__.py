"""Published comparisons: what was said (`definition`), what re-runs it (`points`), and what came of it (`results`)."""
