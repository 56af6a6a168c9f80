"""Hyperparameter search with Ray Tune: many short trainings, the worst stopped early.

In: a sweep file and a training configuration. Out: best.yaml, trials.json, one run folder per trial. A trial is a
training in a process of its own, so that the training does not depend on Ray.
"""
