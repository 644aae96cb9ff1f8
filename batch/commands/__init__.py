"""The commands of `sipbatch`, one a file."""
