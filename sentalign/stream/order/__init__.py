"""The order of an epoch: pure functions and classes of numbers; no file, rank or worker is known here."""
