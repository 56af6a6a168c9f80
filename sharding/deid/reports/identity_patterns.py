"""Patterns of what may identify a person in a report: dates, telephones, numbers, names after titles, addresses, ages.

In: nothing. Out: `GROUPS`, in the order in which they are tried. `identifiers` finds the names that a header gives;
`masking` applies them. The kinds are those of the HIPAA Safe Harbor list (45 CFR 164.514(b)(2)) that a report can
hold. A year alone, a state and an age below 90 may stay, by that list; the time of day is masked beside a date.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sharding.deid.reports import other_languages
from sharding.deid.reports.pattern_parts import (
    CAPITAL,
    COUNTED,
    DAY,
    HOUR,
    INITIAL,
    LISTED,
    LOWER,
    MIXED,
    MONTH_NUMBER,
    NAME,
    NO_MORE,
    SPACE,
    STOP,
    TITLED,
    YEAR,
)

RULES_VERSION = "3"  # raised with every change of what is masked; part of the audit

# --- numbers -----------------------------------------------------------------------------------------------------
CLEAR_MONTH = r"(?i:january|february|april|june|july|august|september|october|november|december)"
SHORT = "Jan Feb Mar Apr Jun Jul Aug Sept? Oct Nov Dec".replace(" ", "|")
SHORT_MONTH = rf"(?:{SHORT}|{SHORT.upper()})(?![A-Za-z])\.?"
VERB_MONTH = r"(?:May|MAY|March|MARCH)"  # also words of reports: a capital with a number or a preposition makes a month
MONTH = rf"(?:{CLEAR_MONTH}|{SHORT_MONTH}|{VERB_MONTH})"
ANY_MONTH = rf"(?:{MONTH}|(?i:{SHORT}|may|march)(?![A-Za-z])\.?)"
ORDINAL = r"(?:st|nd|rd|th)?"
DAYS = rf"(?<![\w./])(?:{DAY}\s?[-–]\s?)?{DAY}{ORDINAL}(?:\s+of)?[ \t-]*"
SHORT_YEAR = r"['’]?\d{2}"
FRACTION = rf"(?:{MONTH_NUMBER}/{DAY}|{DAY}/{MONTH_NUMBER})"
FRACTION_END = rf"(?![\d/]|\.\d|\s*-?{COUNTED}\b)"
STUDY = r"(?i:films?|study|exam\w*|radiographs?|x-?rays?|cxr|cta?|mri|scan|chest|portable)"
MONTH_DATES = (
    rf"{DAYS}{ANY_MONTH},?[\s-]*(?:{YEAR}|{SHORT_YEAR})(?![\d:])",
    rf"{DAYS}(?:{CLEAR_MONTH}|{SHORT_MONTH})(?!\w)",
    rf"{DAYS}{VERB_MONTH}(?=\s*(?:[.,;:)_\d]|$|at\b|and\b|for\b))",
    rf"\b{ANY_MONTH}[\s-]*{DAY}{ORDINAL}(?:,\s*|\s+|-)(?:{YEAR}|['’]\d{{2}})(?!\d)",
    rf"\b{MONTH}[ \t-]*(?:the )?{DAY}{ORDINAL}(?![\d:]|[/.]\d|\s*-?(?!the\b|of\b|"
    rf"to\b){COUNTED}\b)(?:,?\s+{SHORT_YEAR}(?=[.,;)]|$))?",
    rf"\b{ANY_MONTH},?\s+(?:of\s+)?(?:{YEAR}|['’]\d{{2}})\b",
    rf"\b{CLEAR_MONTH}\b",
    rf"\b(?i:in|since|from|until|till|last|next|during|early|late|mid|by|of)[\s-]+({VERB_MONTH}|"
    rf"{SHORT_MONTH})(?![\w'])",
)
NUMBER_DATES = (
    rf"(?<![\w./-]){DAY}[/-]{DAY}[/-](?:19|20)?\d{{2}}(?![\d/-])",
    rf"(?<![\w.]){DAY}\.{DAY}\.(?:19|20)?\d{{2}}(?!\d|\.\d)",
    rf"(?<![\d.]){YEAR}[-/.](?:0?[1-9]|1[0-2])[-/.]{DAY}(?:T[\d:.]+Z?)?(?!\d)",
    rf"(?<![\d.]){YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?!\d)",
    rf"(?<![\d./]){MONTH_NUMBER}/{YEAR}(?!\d)",
    # A bare 3/12 only beside words of dates: it may be a grade, a share or a count.
    rf"(?<![\w./-])({FRACTION})\s?(?:-|–|to|and|through)\s?({FRACTION}){FRACTION_END}",
    rf"\b(?i:on|since|from|dated?|of|until|till|through|before|after|by|op|surgery|prior|previous|"
    rf"compar\w+(?:\s+(?:to|with|is|made))*|admi\w+|discharged?|placed|yesterday|today|tomorrow|mon|tues?|wed|thu|"
    rf"thurs|"
    rf"fri|sat|sun|\w+day|{STUDY}),?\s+\(?({FRACTION}){FRACTION_END}",
    rf"\b(?i:dated|prior|compar\w+|{STUDY})\s+(?i:of|from|dated|on|to|with)\s+({MONTH_NUMBER}-{DAY})"
    r"(?=[.,;)]|\s+(?i:at|and|by)\b)",
    rf"(?<![\w./-])({FRACTION})(?=\s+(?:{STUDY}|(?i:at)\s+[\d_])\b)",
    rf"(?<![\w./-])(?:0[1-9]/[0-3]\d|[0-3]?\d/0[1-9]){FRACTION_END}",
)
HALF_DAY = r"(?:\s?[AaPp]\.?\s?[Mm]\b\.?)"
TIMES = (
    rf"(?<![\w.:/])(?:{HOUR}[:.][0-5]\d(?::[0-5]\d)?|(?:0?[1-9]|1[0-2])){HALF_DAY}(?!\w)",
    rf"(?<![\w.:/]){HOUR}[:.]?[0-5]\d\s?(?i:hours|hrs?|h|uhr)\b",
    rf"\b(?i:at|@|time:?)\s+({HOUR}:[0-5]\d(?::[0-5]\d)?|(?:[01]\d|2[0-3])[0-5]\d){NO_MORE}(?!\s*{COUNTED}\b)",
)
TIMES_BESIDE_DATES = (
    rf"(?<=_)(?:,?\s+(?i:at|@)?\s?|\s?[-/;]\s?)({HOUR}[:.]?[0-5]\d(?::[0-5]\d)?){NO_MORE}",
    rf"(?<![\w.:/]){HOUR}:[0-5]\d(?::[0-5]\d)?(?=,?\s+(?i:on\s+)?_)",
    r"\b(?i:mon|tues?|wed|thurs?|thu|fri|sat|sun)\b(?=\.?,?\s+_)",
)
WEEKDAYS = (r"\b(?i:(?:mon|tues|wednes|thurs|fri|satur|sun)day)s?\b",)
PHONES = (
    r"(?<![\w.-])(?:\+|00)[1-9]\d{0,2}(?:[ .\-/]{0,3}\(?\d{1,5}\)?){2,6}(?!\d)",
    r"(?<![\w.-])(?:1[ .-])?(?:\(\d{3}\)\s?|\d{3}[ ./-])\d{3}(?:[ .-]|[ ]-[ ])\d{4}"
    r"(?:\s*(?i:ext\.?|x)\s*\d+)?(?![\w-])",
    rf"(?<![\w.-])\(?0\d{{2,5}}\)?(?:[ /-]\d{{3,8}}){{1,3}}(?:[ -]\d{{2}}){{0,3}}{NO_MORE}",
    r"(?<![\w.-])[2-9]\d{2}-\d{4}(?![\w-]|\s*(?i:ml|cc|mg|cm|mm|m))",
    r"\b(?i:call(?:ed|back)?|phoned?|telephoned?|tel|telephone|telefon|fax|(?:mobile|cell)(?= ?(?:phone|number|no\b|"
    r"[:#]))|pager?|"
    r"paged|beeper|bleep|pgr|contact|reach(?:ed)?|ring|dial|line|reading room)\b[^\d\n_]{0,24}?"
    r"(\(?\d(?:[ ()./-]{0,2}\d){2,})(?![\w:%]|[.,]\d|\s?(?i:ml|cc|mg|cm|mm|kv|mas|hu|units?|cells|per|µ|x|×|/))",
    r"\b(?i:ext(?:ension)?)\b\.?[\s:#]*(\d[\d-]{1,7})(?!\w|\.\d)|(?<![\w.])[x#]\s?(\d{4,6})(?![\w-]|\.\d)",
)
MARK = r"(?:\s*(?:(?i:number|no|nr|id|code|is)\b\.?|[:#.=(]))"
TOKEN = r"((?:[A-Z]{1,4}[ -])?[A-Za-z]{0,6}[-.]?\d\w*(?:[-./ ]\d*[A-Z]{0,2}\d+\w*){0,4})"
NUMBERS = (
    r"(?<![\w.-])\d{3}-\d{2}-\d{4}(?![\w-])",
    r"\b(?i:mrn|mr\s?#|medical record|med\.? rec\.?|accession|acc\s?[#.]|ssn|social security|nhs|npi|dea|patient id|"
    rf"pt\.? id|study id|health card|medicare|medicaid|passport|licen[cs]e plate|insurance policy|"
    rf"policy|serial|member id){MARK}{{0,3}}\s*{TOKEN}(?<=[\w./-]{{2}})",
    r"\b(?i:patient|record|visit|order|account|acct|encounter|case|chart|unit|hospital|specimen|requisition|req|"
    r"exam|study|claim|"
    r"device|lot|batch|licen[cs]e|certificate|id|identification|registration|file)"
    rf"(?=\s*(?:[#(]|(?i:number|no|nr|id)\b)){MARK}{{1,3}}\s*{TOKEN}(?<=[\w./-]{{3}})",
    r"\((?i:id|mrn|no\.?)\s*:?\s*((?=[\w-]{3})[\w-]*\d[\w-]*)\)|\bID:?\s+(\d{3,})\b",
    r"\b(?i:encounter|requisition|accession)\s+([A-Z]{1,3}-?\d[\w-]+)|\b(?i:chart|record)\s+(\d[\d-]{4,})",
    r"\b(?i:ref|reference)\.?\s*[:#]\s*((?=[\w/.-]{3})[\w/.-]*\d[\w/-]*)|"
    r"(?<!\w)[A-Z]{1,4}/(?=(?:/?\d){4})[\d/]+(?:/\w+)?",
    r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)|(?<![\w.])\d+(?:\.\d+){5,}",  # IP addresses, UIDs
    r"(?<![\w.-])[A-Z]{1,4}-?\d{2,4}-\d{3,}\b|(?<![\w.-])(?=(?:\d-?){7})\d{2,5}(?:-\d+){2,}(?![\w-])",
    r"(?<![\w.-])(?=[A-Z0-9-]*[A-Z])(?=(?:[A-Z-]*\d){5})[A-Z0-9]+(?:-[A-Z0-9]+)*\b",
    r"(?<![\w.])\d{6,}(?![\w]|\.\d|\s?/|\s*(?i:cells|copies|iu|units|per)\b)",
)
NINETIES = r"(?:9\d|1[0-2]\d)"
AGES = (
    rf"(?<![\d./-])({NINETIES})(?:[\s-]*(?i:years?|yrs?)\b|\s?-?(?i:y\.?\s?/?o\b|yo\b|y\b))",
    rf"\b(?i:aged?)\b[\s:]*(?:of\s)?({NINETIES})(?!\d|\.\d|\s*(?i:days|weeks|months|hours))",
    rf"(?<![\w./-])({NINETIES})[MF]\b",
    rf"(?:^|[:.;,]\s*|\b(?i:an?|this|is)\s+)({NINETIES})[ ][MF](?=[ ](?:with|w/|s/p|who)\b)",
    rf"\b(?i:pt|patient|s?he)\s+(?i:is|was)\s+({NINETIES})(?=[.,;]|\s+(?i:and|with)\b|$)",
)
WORD_AGES = (
    r"\b(?i:ninety|(?:a|one)[ -]hundred)(?i:[ -](?:and[ -])?(?:one|two|three|four|five|six|seven|eight|nine|ten))?"
    r"(?=[ -](?i:years?)\b)",
)

# --- names -------------------------------------------------------------------------------------------------------
ROLES = (
    r"(?:(?i:the|a|an|our|on-?call|covering|ordering|referring|primary|care|treating|icu|ed|er|team|resident|"
    r"attending|"
    r"intern|fellow|physician|provider|clinician|nurse|practitioner|radiologist|surgeon|np|rn|pa|md|dr|mr|mrs|ms|"
    r"prof)\b"
    r"\.?[ ,]+){0,4}"
)
CREDENTIAL = (
    r"(?:M\.?D\b|D\.O\.|Ph\.?\s?D\b|R\.?N\b|PA-C\b|C?RNP\b|APRN\b|DNP\b|FRCR\b|FRCP\b|FACR\b|MBBS\b|MBChB\b|MRCP\b|"
    r"RT\(R\)|NP\b|DO\b(?! NOT)|CNP\b)"
)
SIGNED = (
    r"(?i:signed|dictated|transcribed|typed|entered|interpreted|read|reviewed|verified|approved|authenticated|"
    r"finali[sz]ed|"
    r"reported|performed|ordered|requested|prepared|supervised|reading|report|seen|called)"
)
CONTACT = (
    r"(?i:discussed|d/w|reviewed|shared|consulted|spoken?|conferred|communicated|conveyed|relayed|reported|called|"
    r"telephoned|"
    r"phoned|paged|texted|faxed|given(?=[ ]to)|notified|notif(?:y|ying)|informed|told|alerted|contacted|updated|"
    r"referring)"
)
# What belongs to a patient or a colleague; an eponym has a disease or a sign ("Crohn's disease").
POSSESSED = (
    r"(?i:films?|radiographs?|x-?rays?|stud(?:y|ies)|images?|scans?|exam\w*|chest|lungs?|heart|condition|symptoms|"
    r"report|chart|"
    r"records?|history|request|mother|father|wife|husband|family|doctor|room|birthday|office)"
)
LABEL = (
    r"(?i:attending|resident|radiologist|radiographer|technologist|transcriptionist|physician|provider|surgeon|"
    r"consultant|"
    r"referring|ordering|requesting|reporting|doctor|staff|fellow|author|signed|dictated|reader|reporter|reviewer|"
    r"nurse|"
    r"patient|pt|name|surname|mother|father|contact|next of kin)"
    r"(?:[ ](?i:physician|radiologist|provider|surgeon|md|dr|doctor|of record|name|nurse|by|electronically))?"
)
# What an abbreviation before it makes a group of people, not somebody's initials: "by the ED team".
GROUP = r"(?i:colleagues?|teams?|staff|services?|departments?|groups?|nurses?|physicians?|doctors?|residents?)"
NAMES = (
    rf"(?:(?:(?:[Dd]rs?|DRS?|Mrs?|Ms|Mx|MRS|Prof|PROF|Mme|Rev)\b\.?(?:[ ]med\.)?|MR\.){SPACE}){{1,2}}({TITLED})",
    rf"\b(?:Doctor|Professor|Miss|[Nn]urse|NURSE|Sister|Herr|Frau){SPACE}(?!Mary Joseph)({NAME})",
    rf"\b(?:[Dd]rs?|DRS?)\b\.?[ ]+({LOWER})",
    r"(?<![\w^'’-])[A-Za-z][\w'’-]{1,30}\^[A-Za-z][\w^'’-]*",
    rf"\b{LABEL}\s*:[ \t]*{ROLES}({LISTED}|{NAME})",
    rf"\b{SIGNED}(?:[ ]and[ ]\w+)?(?:[ ]off)?(?:[ ](?:at|in|on|from)(?:[ ][\w'’-]+){{1,4}}?)?"
    rf"[ ](?i:by):?[ ]+{ROLES}(?![A-Z]{{2,4}}[ ]{GROUP}\b)({LISTED}|{NAME})",
    rf"\b(?i:signed|dictated|transcribed|typed)(?:[ ]by:?|:)[ ]+({LOWER}(?:[ ]{LOWER})?)",
    rf"\b{CONTACT}(?:[ ]\w+){{0,2}}?(?:[ ](?i:w/|with|to))?[ ]+{ROLES}({NAME})",
    rf"\b(?i:mother|father|son|daughter|wife|husband|brother|guardian|spouse|partner|rn|np|nurse|resident|attending|"
    r"fellow|intern|technologist|radiologist|radiographer|clerk)[ ,:(]+"
    rf"({MIXED}(?:[ ]{MIXED})*)",
    rf"\b(?i:patient)(?:,|[ ]is|[ ]named)?[ ]({MIXED}(?:[ ](?:{INITIAL})?{MIXED})+|(?<=, ){MIXED}(?=,)|"
    rf"{MIXED}(?=[ ](?:was|is|has|had|arrived|presents|presented|denies|states|underwent)\b))",
    rf"(?<!\w)({MIXED}[ ](?:{INITIAL})?{MIXED}),[ ](?i:attending|resident|radiologist|consultant|physician|fellow)\b",
    rf"(?<!\w)({MIXED})['’]s[ ]{POSSESSED}\b",
    rf"\bI,[ ]({NAME}),|\b(?:Dear|Hi|Hello|[Rr]egards,?|[Ss]incerely,?|[Cc][Cc]:)\s+({NAME})",
    r"\b(?i:transcribed|typed|dictated)(?i:[ ]by)?:?[ ]+([A-Za-z]{2,4}/[A-Za-z]{2,4}|[A-Z]{2,4}(?=[\s.,;]|$))",
    rf"\b(?i:wet read|prelim\w*):?[ ]+(?!(?i:{STOP})\b)([A-Z]{{2,4}})(?=[ ]+(?:_|MON|TUE|WED|THU|FRI|SAT|SUN|\d))",
)
NAMES_WITH_CREDENTIALS = (rf"(?<![\w.'’-])({LISTED}|{NAME})(?=,[ ]*{CREDENTIAL}|[ ]+(?!NP|DO|CNP){CREDENTIAL})",)
NAMES_BESIDE_NAMES = (rf"(?<=_)[ ](?:and|&|by|to|with)[ ]({NAME})(?=[ ](?:was|were|is|are|by|at|on)\b|[.,])",)

# --- places ------------------------------------------------------------------------------------------------------
STATE = (
    r"(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|P[AR]|RI|S[CD]|T[NX]|UT|V[AT]|"
    r"W[AIVY])"
)
ADDRESSES = (
    r"(?<![\w.])\d{1,5}[A-Z]?[ ](?:[NSEW]\.?[ ])?(?:(?:[A-Z][\w'-]*|\d+(?:st|nd|rd|th))[ ]){1,3}"
    r"(?i:street|st|avenue|ave|road|rd|boulevard|blvd|lane|ln|drive|court|way|place|square|highway|hwy|parkway|pkwy|"
    r"terrace|"
    r"circle)\b\.?(?:,?[ ](?i:apt|suite|ste|unit|#)\.?[ ]?[\w-]+)?(?:,[ ][A-Z][a-z]+)?",
    r"\b(?i:p\.?\s?o\.?\s?box)\s+([\w-]+)",
    rf"(?<!\w){MIXED}(?:[ ]{MIXED}){{0,2}},[ ]?(?:{STATE}|{MIXED}(?:[ ]{MIXED})?)[ ]\d{{5}}(?:-\d{{4}})?\b",
    rf"\b{STATE}[ ]\d{{5}}(?:-\d{{4}})?\b",
    r"(?<![\w-])(?![TLCS]\d{1,2} )[A-Z]{1,2}\d[A-Z\d]? \d(?!MM|CM|TH|ND|RD|ST|ML|CC)[A-Z]{2}\b",
)
ROOMS = (
    r"\b(?i:room|ward|bed|unit)-(?=[\w-]*\d)[\w-]+",
    r"\b(?i:room|rm|bed|ward|bay|cubicle)\s*(?i:no\.?|number|#)?\s*(?=[A-Z]{0,2}-?\d)(\w+(?:-\w+)?)\b"
    rf"(?!\s*{COUNTED}\b|[./]\d)",
)
NOT_A_FACILITY = (
    r"(?i:outside|outlying|the|our|this|that|an?|at|in|from|to|of|for|by|on|with|and|or|local|prior|previous|recent)"
)
FACILITY_WORD = rf"(?<!\w)(?={CAPITAL})(?!{NOT_A_FACILITY}\b){CAPITAL}[\w'’-]{{0,30}}"
FACILITY = (
    r"(?=[A-Z])(?:(?i:hospital|medical cent(?:er|re)|clinic|infirmary|nursing home|hospice|klinikum|klinik)s?|"
    r"Imaging (?:Cent(?:er|re)|Associates|Group)|Radiology (?:Associates|Group|Partners)|"
    r"(?:Health(?:care)?|Rehabilitation|Surgery|Cancer) (?:System|Center)|University|Institute|Prison|Jail|School)\b"
)
FACILITIES = (
    rf"(?:(?:St\.?|Saint)[ ])?(?:{FACILITY_WORD}[ ]){{1,4}}{FACILITY}"
    rf"(?:[ ]of[ ](?:the[ ])?{MIXED}(?:[ ]{MIXED})?|,[ ]{MIXED})?",
    rf"\b(?i:at|from|to)[ ]((?:{FACILITY_WORD}[ ]){{1,3}}"
    r"(?:General|Memorial|Regional|Presbyterian|Methodist|Baptist))\b",
    rf"\b(?:Hospital|Clinic|University)s?[ ]of[ ]((?:the[ ])?{MIXED}(?:[ ]{MIXED}){{0,2}})",
)
RESIDENCES = (
    r"\b(?i:lives?|living|resid(?:es|ing)|resident|native|born|raised|emigrated|immigrated|moved|works?|worked|"
    r"employed|"
    r"inmate)[ ](?i:in|of|at|near|from|to|by|for)[ ]"
    rf"({MIXED}(?:[ ,]+{MIXED}){{0,2}})",
)
EMAILS = (r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+",)
URLS = (
    r"(?i:https?|ftp)://[^\s,;)]*[^\s,;).]|\bwww\.[^\s,;)]*[^\s,;).]",
    r"(?<![\w@.])[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:com|org|net|edu|gov|info|health|hospital)\b(?:/[^\s,;)]*[^\s,;).])?",
    r"\\\\[\w.-]+\\[^\s,;)]+",
)


@dataclass(frozen=True)
class PatternGroup:
    """Patterns of one kind, tried only if the gate matches. A pattern masks its groups, or all of it if it has none."""

    kind: str
    gate: re.Pattern[str]
    patterns: tuple[re.Pattern[str], ...]


def _group(kind: str, gate: str, *patterns: str) -> PatternGroup:
    return PatternGroup(kind, re.compile(gate), tuple(re.compile(pattern, re.M) for pattern in patterns))


# The order matters: a telephone number may be part of a longer number, and a time is recognised by a masked date.
GROUPS: tuple[PatternGroup, ...] = (
    _group("email", "@", *EMAILS),
    _group("url", r"[./\\]\w", *URLS),
    _group("age", r"\d\d", *AGES),
    _group("age", r"(?i)hundred|ninety", *WORD_AGES),
    _group("date", r"(?i)" + "|".join(other_languages.MONTH_STEMS), *other_languages.MONTH_DATES),
    _group("date", rf"\b{MONTH}|\d{ORDINAL}[\s-]?(?i:{SHORT}|may)|\b(?i:{SHORT}|may|march)[.,]?\s?\d", *MONTH_DATES),
    _group("date", r"\d[-/.]\d|\d{8}|\d{4} \d\d|\d\d \d{4}", *NUMBER_DATES, *other_languages.NUMBER_DATES),
    _group("date", r"\d\d|\d ?[AaPp]\.?[Mm]|\d ?[hHuU]", *TIMES, *other_languages.TIMES),
    _group("date", r"(?i)day", *WEEKDAYS),
    _group("date", "_", *TIMES_BESIDE_DATES),
    _group("phone", r"\d[ ()./-]{0,3}\d", *PHONES, *other_languages.PHONES),
    _group("number", r"\d", *other_languages.NUMBERS, *NUMBERS),
    _group("address", r"\d", *ADDRESSES, *other_languages.ADDRESSES, *ROOMS),
    _group("address", rf"{FACILITY}|General|Memorial|Regional|Presbyterian|Methodist|Baptist", *FACILITIES),
    _group("address", "", *RESIDENCES),
    _group("address", "", *other_languages.FACILITIES, *other_languages.RESIDENCES),
    _group("name", "", *NAMES, *other_languages.NAMES),
    _group("name", CREDENTIAL, *NAMES_WITH_CREDENTIALS),
    _group("name", "_", *NAMES_BESIDE_NAMES),
)
KINDS = tuple(dict.fromkeys(group.kind for group in GROUPS))
