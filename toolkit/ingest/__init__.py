"""raw/ or anyone's trace -> one clock, one schema: one file a format."""
