"""The report as one HTML file that opens offline: summaries and stores in, text out."""
