"""How the ranks of a training are started, numbered, joined and stopped."""
