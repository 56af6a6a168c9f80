"""LOSS → WEIGHTS: the training loop on DeepSpeed's engine. The only part that imports deepspeed."""
