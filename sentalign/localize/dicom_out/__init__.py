"""Localizations on a DICOM image → DICOM objects of the same study: segmentation, secondary capture, report."""
