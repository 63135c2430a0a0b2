"""Experiments that run for minutes, on the library's one training loop (T11, T12)."""
