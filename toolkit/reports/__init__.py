"""One file a rendering: tables in, bytes out."""
