"""Checkpoints: full_state.py moves tensors between engine and host, write.py and restore.py between host and disk."""
