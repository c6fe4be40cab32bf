"""One file a command, named as the command; `cli` imports each on use."""
