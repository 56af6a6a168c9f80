"""The radiologist's vocabulary: words for each kind of lesion, each location and each normal observation.

Only tables; `reports` chooses among them.

A wording is (number, text): "a" a countable thing, "m" a mass noun, "p" a plural. Slots: {sev} severity,
{size} diameter, {place} adjective ("right upper lobe"), {where} adverbial ("in the right upper lobe").
Empty slots leave no double space.
"""

from __future__ import annotations

CATEGORY_NAMES = {
    "consolidation": "Consolidation",
    "nodule": "Nodule",
    "cavity": "Cavity",
    "effusion": "Pleural Effusion",
    "pneumothorax": "Pneumothorax",
    "reticular": "Reticular Opacity",
    "granulomas": "Calcified Granulomas",
    "atelectasis": "Atelectasis",
}

# Stems that name a kind: none of them may occur in a split from which the kind is withheld.
KIND_STEMS = {
    "consolidation": ("consolidat", "airspace", "infiltrate", "pneumoni"),
    "nodule": ("nodul", "coin lesion", "mass"),
    "cavity": ("cavit", "thin-walled", "ring-shaped", "lucent center"),
    "effusion": ("effusion", "pleural fluid", "costophrenic"),
    "pneumothorax": ("pneumothora", "pleural air", "collapsed lung"),
    "reticular": ("reticul", "interstitial", "net-like"),
    "granulomas": ("granulom", "calcif", "calcific"),
    "atelectasis": ("atelecta", "plate-like", "discoid"),
}

SEEN_WORDINGS: dict[str, tuple[tuple[str, str], ...]] = {
    "consolidation": (
        ("m", "{sev} {place} consolidation"),
        ("m", "{sev} airspace consolidation {where}"),
        ("a", "{sev} patchy airspace opacity {where}"),
        ("a", "{place} infiltrate"),
        ("m", "{sev} focal consolidation {where}"),
        ("m", "{place} pneumonia"),
        ("a", "patchy {place} infiltrate"),
    ),
    "nodule": (
        ("a", "{size} {place} nodule"),
        ("a", "{size} nodule {where}"),
        ("a", "{sev} rounded nodule {where}"),
        ("a", "well-circumscribed {place} nodule"),
        ("a", "solitary {place} pulmonary nodule"),
        ("a", "{size} pulmonary nodule {where}"),
        ("a", "smooth nodular opacity {where}"),
    ),
    "cavity": (
        ("a", "{place} cavity"),
        ("a", "{size} cavitary lesion {where}"),
        ("a", "thin-walled ring-shaped lesion {where}"),
        ("a", "{sev} thin-walled cavity {where}"),
        ("a", "cavitating lesion {where}"),
        ("a", "rounded lesion with a lucent center {where}"),
    ),
    "effusion": (
        ("a", "{sev} {side} pleural effusion"),
        ("a", "{sev} effusion {where}"),
        ("a", "{side} pleural effusion"),
        ("m", "blunting of the {side} costophrenic angle"),
        ("a", "{sev} {side} effusion"),
        ("a", "{sev} layering {side} pleural effusion"),
        ("m", "{sev} pleural fluid {where}"),
    ),
    "pneumothorax": (
        ("a", "{sev} {side} pneumothorax"),
        ("a", "{side} apical pneumothorax"),
        ("a", "{sev} {side} apical pneumothorax"),
        ("a", "{sev} pneumothorax {where}"),
        ("a", "pneumothorax {where}"),
        ("a", "{side} pneumothorax with a thin pleural line"),
    ),
    "reticular": (
        ("p", "{sev} reticular opacities {where}"),
        ("p", "{place} reticular opacities"),
        ("p", "{sev} {place} interstitial opacities"),
        ("a", "{sev} reticular pattern {where}"),
        ("p", "coarse reticular markings {where}"),
        ("p", "increased interstitial markings {where}"),
    ),
    "granulomas": (
        ("p", "calcified granulomas {where}"),
        ("p", "{place} calcified granulomas"),
        ("a", "cluster of calcified granulomas {where}"),
        ("p", "multiple tiny calcified granulomas {where}"),
        ("p", "small calcifications {where}"),
        ("p", "scattered {place} calcified granulomas"),
    ),
    "atelectasis": (
        ("m", "{sev} {place} atelectasis"),
        ("m", "plate-like atelectasis {where}"),
        ("m", "{place} linear atelectasis"),
        ("m", "{sev} linear atelectasis {where}"),
        ("a", "band of atelectasis {where}"),
        ("m", "{sev} subsegmental atelectasis {where}"),
    ),
}

# Used in the test split only: the model never read them.
WITHHELD_WORDINGS: dict[str, tuple[tuple[str, str], ...]] = {
    "consolidation": (("m", "{sev} airspace filling {where}"), ("a", "confluent {place} airspace process")),
    "nodule": (("a", "{place} coin lesion"), ("a", "round {place} mass")),
    "cavity": (("a", "hollow {place} cavity"),),
    "effusion": (("m", "{sev} fluid in the {side} pleural space"), ("m", "{side} pleural fluid collection")),
    "pneumothorax": (("m", "free pleural air {where}"), ("m", "partially collapsed lung {where}")),
    "reticular": (("p", "net-like markings {where}"), ("m", "{place} reticulation")),
    "granulomas": (("p", "calcific foci {where}"), ("m", "{place} granulomatous calcification")),
    "atelectasis": (("m", "{place} discoid atelectasis"), ("a", "plate-like opacity {where}")),
}

BILATERAL_WORDINGS = {
    "consolidation": ("p", "bilateral consolidations"),
    "nodule": ("p", "bilateral pulmonary nodules"),
    "cavity": ("p", "bilateral cavitary lesions"),
    "effusion": ("p", "bilateral pleural effusions"),
    "pneumothorax": ("p", "bilateral apical pneumothoraces"),
    "reticular": ("p", "bilateral reticular opacities"),
    "granulomas": ("p", "bilateral calcified granulomas"),
    "atelectasis": ("m", "bilateral atelectasis"),
}

SEVERITIES = {
    "consolidation": ("", "", "mild", "moderate", "dense", "subtle"),
    "nodule": ("", "small", "indeterminate"),
    "cavity": ("", "small"),
    "effusion": ("", "small", "small", "moderate", "trace"),
    "pneumothorax": ("", "small", "small", "moderate", "tiny"),
    "reticular": ("", "mild", "fine", "subtle"),
    "granulomas": ("",),
    "atelectasis": ("", "mild", "minimal", "mild"),
}

PLACES = {
    "upper": ("{side} upper lobe", "{side} upper zone", "{side} upper lung"),
    "mid": ("{side} mid zone", "{side} mid lung", "{side} perihilar"),
    "lower": ("{side} lower lobe", "{side} lower zone", "{side} basal", "{side} lower lung"),
    "base": ("{side}", "{side} basal"),
    "apex": ("{side} apical", "{side}"),
}

WHERES = {
    "upper": ("in the {side} upper lobe", "in the {side} upper zone", "in the upper {side} lung"),
    "mid": ("in the {side} mid zone", "in the {side} mid lung", "in the mid {side} lung"),
    "lower": ("in the {side} lower lobe", "in the {side} lower zone", "at the {side} lung base"),
    "base": ("on the {side}", "at the {side} base", "at the {side} lung base"),
    "apex": ("at the {side} apex", "on the {side}", "at the {side} lung apex"),
}

FRAMES = ("There {is} {np}.", "There {is} {np}.", "{Np} {is} seen.", "{Np} {is} noted.", "{Np}.", "{Np} {is} present.")
IMPRESSION_FRAMES = ("{Np}.", "{Np}.", "{Np} as described above.")

NEGATED_NAMES = {
    "consolidation": "focal consolidation",
    "nodule": "suspicious nodule",
    "cavity": "cavitary lesion",
    "effusion": "pleural effusion",
    "pneumothorax": "pneumothorax",
    "reticular": "interstitial opacity",
    "granulomas": "calcified granuloma",
    "atelectasis": "atelectasis",
}
NEGATIONS = ("No {a} or {b}.", "There is no {a} or {b}.", "No evidence of {a} or {b}.", "There is no {a}.", "No {a}.")

HEART = (
    "The heart size is normal.",
    "Heart size is within normal limits.",
    "The cardiac silhouette is normal in size.",
    "Cardiomediastinal silhouette is unremarkable.",
    "The cardiac and mediastinal silhouettes are within normal limits.",
    "The hilar and mediastinal contours are normal.",
)
BONES = (
    "No acute osseous abnormality.",
    "Osseous structures are intact.",
    "No displaced rib fracture is seen.",
    "Degenerative changes are seen in the thoracic spine.",
)
CLEAR_LUNGS = ("The lungs are clear.", "Lungs are clear bilaterally.", "Both lungs are well expanded and clear.")
REMAINDER = ("The remaining lungs are clear.", "The lungs are otherwise clear.", "Lung volumes are normal.")
NORMAL_IMPRESSIONS = (
    "No acute cardiopulmonary process.",
    "No acute cardiopulmonary abnormality.",
    "Normal chest radiograph.",
)
COMPARISONS = (
    "Unchanged from prior.",
    "Compared to the prior study, there is no relevant change.",
    "No significant interval change.",
    "Comparison is made to the prior radiograph of ___.",
)
CLOSINGS = (
    "Findings were discussed with Dr. ___ by telephone at 3:15 p.m. on ___.",
    "Clinical correlation is recommended.",
    "Recommend follow-up radiograph.",
    "These findings were discussed with Dr. ___ at the time of interpretation.",
)
DEVICES = {
    "wires": ("Monitoring leads overlie the chest.", "EKG leads project over the chest."),
    "tube": ("A tube projects over the midline.", "Enteric tube courses along the midline."),
    "port": ("A chest wall port is in place.", "Port device projects over the chest wall."),
}
INDICATIONS = (
    "___ year old woman with cough. // evaluate for acute process",
    "___-year-old man with chest pain. Question acute process.",
    "___ year old man with shortness of breath // interval change?",
    "History: ___F with fever",
    "___ year old woman, preoperative assessment.",
)
TECHNIQUES = ("Single frontal view of the chest.", "Portable frontal chest radiograph.", "Chest frontal view.")
ADDENDA = (
    "The above findings were reviewed again. There is no change to the report.",
    "Patient identification was corrected.",
)
