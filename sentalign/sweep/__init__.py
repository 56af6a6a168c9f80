"""Hyperparameter search with Ray Tune: many trainings, the worst stopped early, and what they were compared by.

In: a sweep file and a training configuration. Out: best.yaml, trials.json, a page, one folder per trial. A trial is
trainings in processes of their own, so that the training does not depend on Ray.
"""
