"""The names, ids and places in a DICOM header, for the scan of the report.

In: a parsed dataset. Out: `Identifiers`: every person's name, also in sequences and private elements, and the ids and
places listed below at any depth. Patterns find dates and telephones in the report. These values live in memory only.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from typing import Any

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, keyword_dict
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from sharding.deid.reports.identifiers import Identifiers, identifiers_of

IDS = """
    PatientID OtherPatientIDs AccessionNumber StudyID AdmissionID ServiceEpisodeID MedicalRecordLocator
    RequestedProcedureID ScheduledProcedureStepID PerformedProcedureStepID FillerOrderNumberImagingServiceRequest
    PlacerOrderNumberImagingServiceRequest PatientTelephoneNumbers PersonTelephoneNumbers
    ReferringPhysicianTelephoneNumbers DeviceSerialNumber PlateID CassetteID DetectorID SpecimenIdentifier
    ContainerIdentifier BarcodeValue ClinicalTrialSubjectID ClinicalTrialSubjectReadingID
"""
PLACES = """
    InstitutionName InstitutionAddress InstitutionalDepartmentName PatientAddress PersonAddress
    ReferringPhysicianAddress CurrentPatientLocation PatientInstitutionResidence RequestingService IssuerOfPatientID
    IssuerOfAdmissionID StationName PerformedLocation PerformedStationName ScheduledStationName
    ScheduledProcedureStepLocation RegionOfResidence ResponsibleOrganization
"""
WANTED = {keyword_dict[name]: kind for kind, names in (("ids", IDS), ("places", PLACES)) for name in names.split()}
UNKNOWN_VR = (None, "UN")


def identifiers(dataset: Dataset) -> Identifiers:
    """Names, ids and places of the header; an element that cannot be read counts as absent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's texts quote values of the header
        values = _wanted_values(dataset)
    return identifiers_of(persons=values["PN"], ids=values["ids"], places=values["places"])


def _wanted_values(dataset: Dataset) -> dict[str, list[str]]:
    values: dict[str, list[str]] = defaultdict(list)
    datasets = [dataset]
    while datasets:
        inner = datasets.pop()
        for tag, element in inner.items():  # raw elements: only the wanted ones are converted
            kind = WANTED.get(int(tag), element.VR if element.VR not in UNKNOWN_VR else _known_vr(int(tag)))
            if kind == "SQ":
                datasets += [item for item in _values(inner, int(tag)) if isinstance(item, Dataset)]
            elif kind in ("PN", "ids", "places"):
                values[kind] += map(str, _values(inner, int(tag)))
    return values


def _known_vr(tag: int) -> str:
    try:
        return dictionary_VR(tag)
    except KeyError:
        return ""


def _values(dataset: Dataset, tag: int) -> list[Any]:
    try:
        value = dataset[tag].value
        return [part for part in (value if isinstance(value, list | MultiValue | Sequence) else [value]) if part]
    except Exception:
        return []  # pydicom raises any type for a damaged element
