"""Named trainings over several seeds, and one table of what they reach. Start with `spec`, then `run`."""
