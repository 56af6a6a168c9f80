"""Search for settings with Ray Tune: many short trainings, the hopeless ones stopped early.

In: a sweep file over a training configuration. Out: best.yaml, trials.json, one run folder a trial. A trial is
`sentalign train` as a process of its own, so that nothing of the training knows of Ray.
"""
