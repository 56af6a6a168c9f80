"""What a DICOM header says of people, ids and places, for the scan of the report.

In: a parsed dataset. Out: `Identifiers`. Every person's name counts, in sequences and private elements too, and the ids
and places below wherever they stand. Dates and telephones are found in the report by their form. These values live in
memory only.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, keyword_dict
from pydicom.multival import MultiValue

from sharding.deid.identifiers import Identifiers, identifiers_of

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
UNSAID = (None, "UN")  # VR of elements whose writer did not say, or did not know it


def identifiers(dataset: Dataset) -> Identifiers:
    """Names, ids and places of the header; an element that cannot be read counts as absent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's texts quote values of the header
        found = _found(dataset)
    return identifiers_of(persons=found["PN"], ids=found["ids"], places=found["places"])


def _found(dataset: Dataset) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    datasets = [dataset]
    while datasets:
        inner = datasets.pop()
        for tag, element in inner.items():  # as read: only what is wanted is converted
            kind = WANTED.get(int(tag), element.VR if element.VR not in UNSAID else _known_vr(int(tag)))
            if kind == "SQ":
                datasets += _items(inner, int(tag))
            elif kind in ("PN", "ids", "places"):
                found[kind] += _values(inner, int(tag))
    return found


def _known_vr(tag: int) -> str:
    try:
        return dictionary_VR(tag)
    except KeyError:
        return ""


def _items(dataset: Dataset, tag: int) -> list[Dataset]:
    try:
        return [item for item in dataset[tag].value or () if isinstance(item, Dataset)]
    except Exception:
        return []  # whatever type pydicom raises for a damaged element


def _values(dataset: Dataset, tag: int) -> Iterator[str]:
    try:
        value = dataset[tag].value
        return iter([str(each) for each in (value if isinstance(value, list | MultiValue) else [value]) if each])
    except Exception:
        return iter(())
