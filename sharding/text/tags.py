"""A sentence of a report → tags: negated, uncertain, normal, comparison, non-image.

In: the words of one sentence. Out: its tags. Rules with scope, no model. tests/golden defines each tag and measures the
rules on real reports. `sentences` splits a report.
"""

from __future__ import annotations

import itertools
import re

REMOVED = re.compile(r"\bX{3,}\b|_+", re.I)


def _any(*phrases: str) -> re.Pattern[str]:
    """One of the phrases, as whole words, in lower case."""
    return re.compile(r"\b(?:" + "|".join(phrases) + r")(?!\w)")


TAGS = ("negated", "uncertain", "normal", "comparison", "non-image")
# Negations deny a part of a sentence; the rest is affirmed. An affirmed word asserts a finding unless it is one of
# these: grammar, anatomy, examination, normality and change.
WORD = re.compile(r"[a-z]{2,}")
NEUTRAL = frozenset(
    WORD.findall(
        """
        about above after again all also am an and any are as at be been being below both but by can could do does each
        either entire every for from had has have here in into is it its may might no not of on only or other otherwise
        over per so than that the their there these this those through throughout to under up was were which with within
        would

        abdomen abdominal airway airways alignment angle angles aorta aortic apex apical apices arch arteries artery
        axillary cardio markings sacrum sacroiliac epiglottis larynx pharynx thyroid hips hip pelvis base bases
        basilar bibasilar bilateral bilaterally body bone bones bony border borders bowel bronchi bronchial cage
        cardiac cardiomediastinal cardiopulmonary cardiovascular carina cervical chamber chambers chest clavicle
        clavicles costophrenic diaphragm diaphragmatic diaphragms disc disk esophagus field fields fissure fissures
        glenohumeral great heart height heights hemidiaphragm hemidiaphragms hemithoraces hemithorax hila hilar
        hilum humeral interstitial interstitium intrathoracic joint joints left ligament liver lobe lobes lower
        lumbar lung lungs main major mediastinal mediastinum middle midlung neck osseous paraspinal paratracheal
        parenchyma parenchymal pattern pericardial pericardium perihilar pleura pleural pulmonary region regions rib
        ribs right root scapula scapulae shadow shadows shoulder shoulders silhouette silhouettes skeletal skeleton
        soft space spaces spinal spine sternum stomach structure structures sulci sulcus thoracic thoracolumbar
        thorax tissue tissues trachea tracheal tracheobronchial tree upper vascular vascularity vasculature veins
        venous ventricle ventricles vertebra vertebrae vertebral vessel vessels visceral volume volumes wall walls
        zone zones

        ap evidence evident exam examination examined film finding findings frontal identified image imaged images
        impression included lateral pa part parts portable portion portions projection radiograph radiographic
        radiographically radiographs see seen show showing shown shows study supine technique upright view viewed views
        visible visualised visualization visualized

        acute additionally adequate adequately adult aerated aeration age appear appearance appearances appeared
        appearing appears appropriate appropriately aside caliber calibre central change changed changes clear
        clearly compared comparison completely configuration considering contour contours course definite
        demonstrate demonstrated demonstrates demonstrating distribution especially essentially evaluation expanded
        expansion expected exposed fairly full fully furthermore general generally given good gross grossly
        incidentally inflated inflation intact interval limit limited limits maintained midline mineralization
        mineralized namely near negative normal normally noted now obtained outline outlines overall particular
        particularly patent patient patients position positioned preserved previous previously prior range
        relatively remain remainder remaining remains rest reveal revealed reveals satisfactory shape sharp sharply
        similar since size sized specifically stable symmetric symmetrical symmetrically time today top unchanged
        unremarkable very well year years young
        """
    )
)
SEEN = r"(?:chest|exam\w*|stud(?:y|ies)|radiographs?|films?|images?|imaging|x-?rays?|ct|scans?|views?|(?:x-)?xxxx|_+)"
NOT_NORMAL = _any(r"not (?:\w+ly )?(?:clear|normal|unremarkable)")
# Negations that deny no finding, but certainty, change, visibility or an earlier examination.
NOT_EXCLUDED = _any(
    r"(?:can ?not|can't|could ?n[o']t|not) (?:be )?(?:\w+ly )?(?:excluded?|ruled? out)", "not (?:be )?certain"
)
NO_EARLIER = _any(
    rf"(?:no|without|none) (?:\w+ )?(?:for )?(?:comparisons?|priors?|previous)(?: {SEEN})*"
    r"(?:(?: \w+){0,2} for comparison)?"
)
DENIES_NOTHING = _any(
    r"(?:no|without) (?:evidence of )?(?:(?:\w+ly|significant|interval|definite|appreciable|substantial|acute|gross|"
    r"major|relevant|other|further|overall) )*(?:changes?|increase|decrease|improvement|progression|worsening)",
    r"not (?:\w+ly )?(?:been )?(?:changed|increased|decreased|improved|worsened|progressed)",
    r"not (?:only|necessarily|previously|seen on (?:the )?(?:prior|previous))",
    r"not (?:as )?(?:well|fully|completely|entirely|optimally|adequately|clearly|included|imaged|available)",
    r"(?:interval )?removal of [\w\s-]{1,80}?(?=,|;| without| with no)",
    "no the",
    NO_EARLIER.pattern,
)
# A negation denies what follows it in its clause, or the whole clause.
DENIES_REST = _any(
    *("no(?! longer)", "without", "negative for", "absence of", "(?:free|clear) (?:of|from)", "neither", "nor"),
    *("denies", "devoid of", "lack of", "rather than"),
)
DENIES_CLAUSE = _any("not", "no longer", "isn't", "aren't", "absent", "ruled out", "excluded", "negative", "never")
CLAUSE_END = re.compile(
    r"[;:]|\.(?=\s)|\b(?:but|however|although|though|except|aside from|apart from|other than|while|whereas|which|"
    r"with)\b|"
    r"(?:,(?: and)?| and) (?=(?:the|there|it|this|heart|lungs?|stable|unchanged|persistent|again|status post)\b)"
)
LOOKS_NORMAL = _any(
    *(r"(?<!above )(?<!than )normal", "unremarkable", r"within (?:the )?(?:\w+ )?limits", "intact", "clear", "midline"),
    *("preserved", "(?:well|fully|normally)[- ](?:expanded|aerated|inflated)"),
)
# Denied, these mean a normal image.
OVERALL = _any(
    *("abnormalit(?:y|ies)", "negative(?! for)"),
    r"(?:acute|active|significant|cardiopulmonary) (?:(?!air|interstitial|infiltrat|pneumon|"
    r"granulom)[\w/-]+,? ){0,5}?"
    r"(?:disease|process\w*|pathology|findings?|injury|changes?)",
)
HEDGE = _any(
    r"(?:may|might|could)(?! be (?:of|help|useful|obtained|considered|performed|warranted|indicated|beneficial)"
    r"| provide)",
    *(r"possib\w+", r"probabl\w+", r"(?:un)?likely", "most x{3,}", r"suspect\w*", r"suspici\w+", r"suggest\w*"),
    *(
        r"difficult to (?:\w+ )?exclude",
        r"question\w*",
        "concern(?:ing)? for",
        "consider",
        "perhaps",
        "equivocal",
        "differential",
        "favou?r(?:ed|s)?",
    ),
    *("(?<!less )(?<!more )apparent", "versus", "vs", r"presum\w+", "(?<!and/)or"),
)
# "Increased markings" and "lung volumes are decreased" are seen without an earlier image.
WITHOUT_EARLIER = _any(
    r"(?:volumes?|markings|densit(?:y|ies)|diameter|lucenc(?:y|ies)) (?:is|are|appears?) (?:\w+ly )?(?:in|de)creased",
    r"increased (?:[\w-]+ ){0,3}?(?:opaci\w+|densit\w+|markings?|lucen\w+|airspaces?(?! disease)|cuffing|"
    r"attenuat\w+|kyphosis|"
    r"diameter|interstitial|interstitium|bronch\w+|peribronch\w+|vascular\w*|reticul\w+|prominen\w+|retrosternal|"
    r"perihilar|"
    r"thickening|volumes?|inflation|calcification\w*|sclero\w+)",
    r"decreased (?:[\w-]+ ){0,2}?(?:volumes?|inflation|inspirat\w+|expansion|densit\w+|attenuat\w+|mineraliz\w+|"
    r"height)",
)
CHANGED = _any(
    "interval", "compar(?:ed|ison|ing)", "since", r"previous\w*", "prior", "from", "(?:has|have) (?:in|de)creased"
)
COMPARISON = _any(
    *("(?:un)?changed", "stable", "stability", "interval", "compar(?:ed|ison|ing)", "again", r"persist\w*", "similar"),
    r"(?:previous(?:ly)?|prior|earlier)(?! (?:\w+ ){0,3}?"
    r"(?:granulo|infect|tubercul|asbestos|expos|surg|sternot|trauma|fractur|injur|operat|inflam|cabg|\w+ectomy))",
    r"(?:in|de)creas(?:ed?|es|ing)",
    *("remain(?:s|ed)?", r"improv\w+", r"worsen\w*", r"progress\w*"),
    *("new(?:ly)?", "since", r"resolv\w+", "resolution", r"redemonstrat\w+", "no longer", "removed", "removal"),
    *(
        "cleared",
        "clearing",
        "continued",
        "residual",
        "developed",
        "(?:is|are) developing",
        "less (?:perceptible|apparent|conspicuous|prominent|pronounced)",
        r"(?:no|without) (?:\w+ )?change",
    ),
)
REPORTED = _any(
    *("discussed", r"telephon\w*", "phone[dr]?", r"communicat\w+", "notified", "informed", "paged", r"dictat\w+"),
    *("^(?:status post|s/p)", r"^prior (?:\w+ )?surgery", "^does (?:this|the) patient"),
    *("conveyed", "(?:was|were|been) (?:called|reported|relayed)", "ordered by", "attending", "my interpretation"),
    *("history of", "years?[- ]old", "present(?:s|ing) (?:with|to)", "admitted"),
    "patient (?:(?:is|was) status post|denies|complains|reports)",
)
RECOMMENDED = _any(
    *(
        r"recommend\w*",
        "advis(?:ed?|able)",
        "correlat(?:e|ion)",
        "of (?:benefit|value)",
        "further (?:evaluation|imaging|work-?up|characterization|assessment)",
    ),
    *(rf"consider (?:a )?(?:repeat|follow|further|{SEEN})", r"if (?:\w+ )?(?:warranted|indicated|feasible|needed)"),
    rf"follow[- ]?up (?:is|with|to|in|by|as|per|evaluation|{SEEN})",
)
SUGGESTED = _any(r"suggest (?:\w+ )?(?:correlation|follow|further|repeat)")
CONDITION = re.compile(r"if|given|for|to|in|when|as|because|due")
# The whole sentence describes the technique, or names the examination of a comparison.
TECHNIQUE = re.compile(
    rf"(?:(?!show|demonstrat|reveal)[\w,/():-]+ )*?{SEEN}(?: of the \w+)? (?:(?:was|were|is|are) (?:\w+ )?)?"
    r"(?:obtained|performed|submitted|provided|available|acquired|reviewed|presented|taken|made)\b|"
    r"(?=[x_\W]*[^\Wx_])(?:(?:ap|pa|apical|lordotic|decubitus|oblique|upright|supine|erect|semi-?erect|portable|"
    r"frontal|lateral|and|single|"
    rf"one|two|three|four|\d|total|of|the|{SEEN})(?!\w)[ ,.:]*+)+$|comparison:? |{NO_EARLIER.pattern}"
)


# "Pneumothorax: none", "effusion (-)": a denial behind what it denies.
DENIED_BEFORE = re.compile(
    r"(?:^|(?<=[;,.]))\s*([a-z][\w /()-]{0,60}?)\s*(?:[:=]\s*(?:none|nil|absent|no|negative|neg|0|-|\(-\)|"
    r"(?:not|none) (?:seen|present|identified|visible|visualized|detected|evident|demonstrated))|\(-\))"
    r"(?=\s*(?:[;,.]|$))"
)
LIMITED = re.compile(
    r"\b(?:low|poor) (?:lung )?(?:volume|quality) (?:study|exam\w*|film|image|radiograph)|\bfor technique\b"
)
APOSTROPHE = re.compile("[’‘ʼ‛′`´]")
# What is called normal is no finding, whatever it is: "the epiglottis is within normal limits", "normal markings".
CALLED_NORMAL = re.compile(
    r"[\w\s,/'-]{1,80}?(?= (?:is|are|appears?|remains?|was|were|seems?) (?:all )?(?:to be )?(?:again )?(?:\w+ly )*"
    r"(?:normal(?! position)|unremarkable|within (?:the )?(?:\w+ )?limits)\b)|normal [\w\s-]{1,40}$"
)


def of(sentence: str) -> tuple[str, ...]:
    """The `TAGS` of the sentence; tests/golden/README.md defines them."""
    words = LIMITED.sub("study", DENIED_BEFORE.sub(r" no \1", APOSTROPHE.sub("'", sentence.lower())))
    affirmed, denied = _scopes(NOT_NORMAL.sub("abnormal", NOT_EXCLUDED.sub("possible", words)))
    asserts = any(_asserts(_without_normal(clause.strip(" .,"))) for clause in affirmed.split(";"))
    recommends = _recommends(words)
    normal = not asserts and bool(LOOKS_NORMAL.search(affirmed) or OVERALL.search(denied))
    holds = (
        bool(denied) and not asserts,
        not normal and bool(HEDGE.search(SUGGESTED.sub(" ", affirmed)) or "?" in words) and not recommends,
        normal,
        _compares(NO_EARLIER.sub(" ", RECOMMENDED.split(words)[0] if recommends else words)),
        bool(REPORTED.search(words) or TECHNIQUE.match(words)) or recommends,
    )
    return tuple(itertools.compress(TAGS, holds))


def _scopes(sentence: str) -> tuple[str, str]:
    """The affirmed and the denied part of the sentence, clause by clause."""
    affirmed, denied = [], []
    for clause in CLAUSE_END.split(DENIES_NOTHING.sub(" ", sentence)):
        negation = DENIES_REST.search(clause)
        if negation:
            affirmed.append(clause[: negation.start()])
            denied.append(clause[negation.start() :])
        else:
            (denied if DENIES_CLAUSE.search(clause) else affirmed).append(clause)
    return ";".join(affirmed), ";".join(denied)


def _asserts(words: str) -> bool:
    """Whether there are other words than neutral ones, hedges and removal tokens."""
    return not NEUTRAL.issuperset(WORD.findall(REMOVED.sub(" ", HEDGE.sub(" ", words))))


def _without_normal(clause: str) -> str:
    match = CALLED_NORMAL.match(clause)
    return clause[match.end() :] if match else clause


def _compares(words: str) -> bool:
    """Whether an earlier image is meant."""
    return bool(COMPARISON.search(words if CHANGED.search(words) else WITHOUT_EARLIER.sub(" ", words)))


def _recommends(words: str) -> bool:
    """Whether a recommendation is the main statement: no clause before it describes the image."""
    match = RECOMMENDED.search(words)
    before = words[: match.start()].rpartition(",")[0] if match else ""
    return match is not None and (bool(CONDITION.match(before)) or not _asserts(before))
