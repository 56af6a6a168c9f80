"""One trial of a sweep: the trainings of a point, each in processes of its own, and what they report.

In: a plan and the parameters of a point. Out: run folders and reports. Ray is not imported here.
"""
