"""Everything that knows the Bland API: its payloads, its answers, its calls and its sandbox."""
