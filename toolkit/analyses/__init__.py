"""One .sql file an analysis, and what runs them: store in, tables out."""
