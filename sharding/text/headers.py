"""The headers of report sections, as data: which header opens which section.

In: nothing. Out: tables for `sections`. The frequent ones are those of MIMIC-CXR and Open-i (docs/formats.md), with
the misspellings found there.
"""

from __future__ import annotations

# Section → headers in upper case, without the colon, white space collapsed, none around a slash.
HEADERS: dict[str, tuple[str, ...]] = {
    section: tuple(" ".join(header.split()) for header in headers.split(","))
    for section, headers in {
        "findings": """
            FINDINGS, FINDING, REPORT FINDINGS, CHEST FINDINGS, REFERENCE FINDINGS, FINDINS, FINDNGS, FINDINDGS,
            FINDGINGS, FINDNINGS, FINIDNGS
        """,
        "impression": """
            IMPRESSION, IMPRESSIONS, CONCLUSION, CONCLUSIONS, OPINION, SUMMARY, IMPRESSION AND PLAN, IMPRESSION/PLAN,
            IMPRESSION AND RECOMMENDATION, IMPRESSION AND RECOMMENDATIONS, IMPRESSION/RECOMMENDATION,
            IMPRESSION/RECOMMENDATIONS, FINAL IMPRESSION, IMPRESSON, IMPRRESSION, IMOPRESSION, IMORESSION, IMPRESSOIN,
            IMPRSSION, IMPRESION, IMPERSSION, MPRESSION, IMPESSION
        """,
        "findings and impression": """
            FINDINGS AND IMPRESSION, FINDINGS/IMPRESSION, FINDINGS & IMPRESSION, IMPRESSION AND FINDINGS,
            IMPRESSION/FINDINGS
        """,
        "indication": """
            INDICATION, INDICATIONS, NDICATION, IDICATION, REASON FOR EXAM, REASON FOR EXAMINATION, REASON FOR STUDY,
            REASON FOR THE EXAM, REASON FOR THIS EXAMINATION, REASON, CLINICAL INDICATION, CLINICAL INDICATIONS
        """,
        "history": """
            HISTORY, CLINICAL HISTORY, CLINICAL INFORMATION, PATIENT HISTORY, MEDICAL HISTORY, CLINICAL DATA,
            PAST MEDICAL HISTORY
        """,
        "comparison": """
            COMPARISON, COMPARISONS, COMPARISON STUDY, COMPARISON EXAM, COMPARISON FILM, REFERENCE EXAM, COMPARISION,
            COMPARISIONS, COMPARSION, COMPARRISON
        """,
        "technique": "TECHNIQUE, TECHNIQUES, PROCEDURE, PROCEDURE COMMENTS",
        "examination": "EXAMINATION, EXAMINATIONS, EXAM, STUDY, TYPE OF EXAMINATION, TYPE OF EXAM",
        "recommendation": "RECOMMENDATION, RECOMMENDATIONS, RECOMMENDATION(S)",
        "notification": "NOTIFICATION, NOTIFICATIONS, COMMUNICATION",
        "addendum": "ADDENDUM, ADDENDA, FINAL ADDENDUM, PREVIOUS REPORT",
        "preliminary": "WET READ, WETREAD, PRELIMINARY REPORT, PROVISIONAL FINDINGS IMPRESSION (PFI), PFI",
        "report": "FINAL REPORT",
    }.items()
}
SECTION_OF = {header: section for section, headers in HEADERS.items() for header in headers}

# Sections that describe the image.
IMAGE_SECTIONS = ("findings", "impression", "findings and impression")
# Sections that do not: no sentence of theirs is taken.
OTHER_SECTIONS = ("indication", "history", "technique", "examination", "recommendation", "notification")
EARLIER_SECTIONS = ("addendum", "preliminary")

# These have no colon, and may be followed by more words ("WET READ VERSION #1 ___").
WITHOUT_COLON = ("FINAL REPORT", "FINAL ADDENDUM", "ADDENDUM", "WET READ", "PRELIMINARY REPORT")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# A header of these words alone, with at least one of VIEW_NOUNS, opens the findings of the named views:
# "PA AND LATERAL VIEWS OF THE CHEST".
VIEW_WORDS = _words(
    """
    AND OF THE A IN ON AT WITH TO FROM COMPARED PERFORMED OBTAINED DATED PA AP LATERAL LAT FRONTAL PORTABLE UPRIGHT
    SEMI ERECT SUPINE SEMIUPRIGHT BEDSIDE SINGLE ONE TWO THREE FOUR DECUBITUS LEFT RIGHT BILATERAL OBLIQUE
    ADDITIONAL INSPIRATORY EXPIRATORY STAT RIB X RAY XRAY CR DX
    """
)
VIEW_NOUNS = _words("CHEST VIEW VIEWS RADIOGRAPH RADIOGRAPHS RADIOGRAPHY FILM FILMS RIBS CXR")

# Words that open a statement inside the findings, not a section: "LUNGS: Clear." is a sentence.
ANATOMY = _words(
    """
    LUNG LUNGS AIRWAY AIRWAYS TRACHEA HEART CARDIAC CARDIOMEDIASTINAL CARDIOMEDIASTINUM MEDIASTINUM MEDIASTINAL HILA
    HILAR HILUM AORTA PLEURA PLEURAL SPACE SPACES PNEUMOTHORAX EFFUSION EFFUSIONS BONE BONES BONY OSSEOUS SPINE
    THORAX SKELETON SOFT TISSUE TISSUES CHEST WALL DIAPHRAGM ABDOMEN UPPER LOWER LINE LINES TUBE TUBES CATHETER
    CATHETERS DEVICE DEVICES SUPPORT MONITORING HARDWARE STRUCTURE STRUCTURES SILHOUETTE CONTOUR CONTOURS SIZE
    VESSELS VASCULATURE VASCULARITY PULMONARY PARENCHYMA OTHER MISCELLANEOUS AND OR THE OF LEFT RIGHT RIBS SHOULDER
    SHOULDERS NECK LIMITATIONS
    """
)
