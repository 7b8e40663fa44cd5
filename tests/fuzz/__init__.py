"""Fuzzing: bytes that nobody checked go into what reads them; docs/fuzzing.md."""
