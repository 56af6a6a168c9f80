"""The search itself: Ray Tune's searchers and schedulers, filled again from the record of an earlier start.

In: a checked sweep and its record. Out: trials that run on a Ray cluster. The only importer of Ray Tune and Optuna.
"""
