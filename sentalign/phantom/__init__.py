"""Synthetic chest studies with known lesions, in the MIMIC-CXR layout, with ground truth in the MS-CXR format.

In: a number of studies and a seed. Out: images, reports and boxes. Nothing here is trained.
"""
