"""LOSS → WEIGHTS: the training loop on DeepSpeed's engine. Imports deepspeed, as checkpoint does."""
