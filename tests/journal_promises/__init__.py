"""What any journal must keep, by part; `tests.journal_conformance` puts the parts together."""
