"""The journal: its Protocol, SQLite and memory behind it, and what it knows beyond one run."""
