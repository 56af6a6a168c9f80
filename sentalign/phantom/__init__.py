"""Synthetic chest studies with known lesions, in the MIMIC-CXR layout, with ground truth in the MS-CXR format.

Comes in: a number of studies and a seed. Goes out: pictures, reports and boxes. Not here: anything that learns.
"""
