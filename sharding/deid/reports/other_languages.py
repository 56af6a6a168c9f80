"""Patterns of identities in German, French, Spanish, Portuguese, Dutch and Italian, beside those in English.

In: nothing. Out: tuples of patterns by kind, for `identity_patterns`. All languages are tried on every text: a report
in one of them may hold a name, a date or an address of another.
"""

from __future__ import annotations

from sharding.deid.reports.pattern_parts import CAPITAL, DAY, HOUR, LISTED, NAME, NO_MORE, YEAR

# --- dates and times ---------------------------------------------------------------------------------------------
# Names of months that mean nothing else, and those that do ("mars", "mai", "out") or are too short to stand alone.
CLEAR_MONTH = (
    r"(?i:januar|jänner|februar|feber|märz|maerz|juni|juli|oktober|dezember|"
    r"janvier|février|fevrier|avril|juin|juillet|août|septembre|octobre|novembre|décembre|decembre|"
    r"enero|febrero|marzo|abril|mayo|junio|julio|agosto|sep?tiembre|octubre|noviembre|diciembre|"
    r"janeiro|fevereiro|março|maio|junho|julho|setembro|outubro|novembro|dezembro|"
    r"januari|februari|maart|augustus|gennaio|febbraio|aprile|maggio|giugno|luglio|settembre|ottobre|dicembre)(?!\w)"
)
OTHER_MONTH = (
    r"(?i:jän|jan|feb|mär|mrz|mrt|mar|apr|mai|mei|jun|jul|aug|sept?|okt|oct|nov|dez|dec|déc|janv|févr?|avr|juil|aou|"
    r"ene|abr|may|"
    r"ago|dic|fev|set|out|mars|marco|aout|april|august|september|november|december|gen|mag|giu|lug|ott)(?!\w)\.?"
)
# One of these is in every name of a month.
MONTH_STEMS = (
    *(
        "jan",
        "jän",
        "jen",
        "gen",
        "feb",
        "fév",
        "fev",
        "feber",
        "mar",
        "mär",
        "mae",
        "maa",
        "mrz",
        "mrt",
        "apr",
        "avr",
        "abr",
        "mai",
        "may",
    ),
    *(
        "mei",
        "mag",
        "jun",
        "jui",
        "giu",
        "jul",
        "lug",
        "aug",
        "aou",
        "aoû",
        "ago",
        "sep",
        "set",
        "okt",
        "oct",
        "out",
        "ott",
        "nov",
    ),
    *("dez", "dec", "déc", "dic", "ene"),
)
DAY_OF = rf"(?<![\w./,]){DAY}(?:\.º|[.ºª°]|er|ère|o|e|de|ste)?[ /-]*(?:de[ ]|di[ ]|d['’])?"
OF_YEAR = rf",?[ /-]*(?:de[l]?[ ])?(?:{YEAR}|['’]\d{{2}})(?!\d)"
OF_SHORT_YEAR = rf"(?:{OF_YEAR}|[ /-]\d{{2}}(?![\d:/]|[.,]\d|[ ]?(?i:mm|cm|mg|ml|%)))"
MONTH_DATES = (
    rf"{DAY_OF}{CLEAR_MONTH}(?:{OF_SHORT_YEAR})?",
    rf"{DAY_OF}{OTHER_MONTH}{OF_SHORT_YEAR}",
    rf"(?<![\w./]){DAY}(?:\.|er|º)[ ](?:de[ ])?(?:Mai|mai|mars|mei|April|August|September|November|Dezember)(?!\w)",
    rf"\b(?:{CLEAR_MONTH}|{OTHER_MONTH})(?:[ ](?:de[l]?[ ]|d['’])?|[-/])(?:{YEAR}|['’]\d{{2}}(?!\d))(?!\d)",
    rf"\b{CLEAR_MONTH}",
    r"\b(?i:im|seit|ende|anfang|mitte|en|depuis|fin|début|in|sinds|eind|em|desde)[ ](?i:mai|mars|mei|april|august|"
    r"avril|maio)\b",
)
NUMBER_DATES = (
    rf"(?<![\d.]){YEAR}[/.-](?:0?[1-9]|1[0-2])[/.-]{DAY}(?![\d/-]|\.\d)",
    rf"(?<![\w.,/-]){DAY}[/.-](?:0?[1-9]|1[0-2])[/.-]['’]\d{{2}}(?!\d)",
    rf"(?<![\d.]){YEAR} (?:0[1-9]|1[0-2]) (?:0[1-9]|[12]\d|3[01])(?!\d)",
    rf"(?<![\w.,/-]){DAY} (?:0[1-9]|1[0-2]) (?:19|20)\d{{2}}(?!\d)",
    rf"\b(?i:le|du|au|vom|am|el|del|dd\.?)[ ]({DAY}[/.](?:0?[1-9]|1[0-2])\.?)(?=[ ,;:)]|\.(?:\s|$)|$)",
)
AT = r"(?:à|À|às|Às|as|a las|a la|las|om|um|gegen|ab|vers|alle|rond|sobre las|pelas|Uhrzeit:?|heure:?|hora:?|tijd:?)"
TIMES = (
    rf"(?<![\w.:/,]){HOUR}(?:[.:][0-5]\d)?[ ](?:Uhr|uur)(?!\w)(?:[ ][0-5]\d(?![\d.,]))?",
    rf"(?<![\w.:/,]){HOUR}[ ]?[hHuU][ ]?[0-5]\d(?:[ ]?(?:min|m))?(?!\w)",
    rf"\b{AT}[ ]({HOUR}(?:[ ]?[hHuU]|[ ](?:Uhr|uur|heures?|horas?))(?!\w))",
    rf"\b{AT}[ ]({HOUR}[:.][0-5]\d(?::[0-5]\d)?(?:[ ]?(?:h|u|hs|hrs|horas|uur|Uhr)\b)?){NO_MORE}",
)

# --- numbers -----------------------------------------------------------------------------------------------------
UNIT_NEXT = r"(?![\w/%]|[.,]\d|[ ]?(?i:ml|cc|mg|cm|mm|kg|µ|x|×|%|pro|par|por|per|/))"
CALL = (
    r"(?i:tel|tél|téléphone|telefon|telefonisch|teléfono|telefone|telefoon|telefonnummer|telefoonnummer|rufnummer|"
    r"durchwahl|dect|"
    r"handy|mobil|funk|fax|poste|appeler|joindre|joignable|llame|llamar|llamada|móvil|extensión|ext|busca|ligar|"
    r"ligue|telemóvel|"
    r"celular|ramal|contacto|contato|contact|bellen|gebeld|toestel|sein|pieper|mobiel|bereikbaar|rückfragen|"
    r"erreichbar)"
)
PHONES = (
    rf"(?<![\w.,-])0[1-9](?:[ .-]\d{{2}}){{4}}{UNIT_NEXT}",
    rf"(?<![\w.,-])[2689]\d{{2}}[ .-](?:\d{{2}}[ .-]\d{{2}}[ .-]\d{{2}}|\d{{3}}[ .-]\d{{3}}){UNIT_NEXT}",
    rf"(?<![\w.,-])\(?0\d{{1,5}}\)?[ ]?[-/ ][ ]?\d(?:[ -]?\d){{4,9}}{UNIT_NEXT}",
    rf"\(\d{{2}}\)[ ]?9?\d{{4}}[- ]\d{{4}}{UNIT_NEXT}",
    rf"\b{CALL}\b\.?[^\d\n_]{{0,24}}?(\(?\+?\d(?:[ ()./-]{{0,3}}\d){{2,}}){UNIT_NEXT}",
)
RECORD = (
    r"(?i:(?:pat(?:ient(?:en)?)?|fall|auftrags|aufnahme|akten|kranken|versicherten|versicherungs|"
    r"untersuchungs)[ .-]{0,2}"
    r"(?:nr|id|nummer|zeichen|akte)|kvnr|aktenzeichen|fallnr|pid|kis[ -]id|"
    r"(?:n[°ºo]\.?|num(?:é|e)ro|nr)[ ]?(?:de |du |d['’])?(?:dossier|patient|séjour|sécurité sociale|venue|examen|"
    r"accession|"
    r"historia(?: clínica)?|hc|processo|utente|prontuário|atendimento|pedido|registo|registro|cartão|identificação|"
    r"expediente|"
    r"afiliación|seguridad social|paciente|estudio)|"
    r"dossier(?:[ ]?(?:n[°ºo]\.?|nummer|nr))|ipp|nip|nda|nir|iep|nss|nhc|cipa?|sip|nuhsa|dni|nie|nif|"
    r"historia clínica|historia(?= n)|expediente|processo(?= n)|utente(?= n)|prontuário|cpf|cns|sns|rg|bsn|"
    r"pati[eë]nt(?:en)?(?:nummer|nr)|pati[eë]nt[ -]?id|onderzoeks?(?:nummer|nr)|accessie(?:nummer|nr)?|"
    r"polis(?:nummer|nr)|zis[ -]?nr|"
    r"insz|rijksregister(?:nummer|nr)?|opname(?:nummer|nr)|codice fiscale|cartella(?: clinica)?|"
    r"tessera(?: sanitaria)?|"
    r"carte vitale|assuré|crm(?:-\w\w)?|rpps|adeli|lanr|big|agb|colegiado|cédula)"
)
LOCAL_ID = (
    r"((?:[A-Z]{1,4}[ /-]?)?\d\w*(?:[ ./-][A-Z]{0,3}\d+[A-Z]?(?!\w)){0,7}(?:[-/][A-Z]{1,2}(?!\w))?"
    r"(?:[ ][A-Z]\d{3}(?!\w))?)"
)
NUMBERS = (
    rf"(?<!\w){RECORD}\.?[ ]?(?:n[.°º]{{1,2}}o?|nr\.?|núm\.?|num\.?)?[ ]?[:#=]?[ ]?{LOCAL_ID}(?<=\d[\w./ -]{{2}})",
    r"(?<!\w)AZ\.?:?[ ]([A-Z]{0,4}[ -]?\d[\w./-]{2,})",
    r"(?<![\w.])[12][ ]\d{2}[ ]\d{2}[ ]\d[\dAB][ ]\d{3}[ ]\d{3}(?:[ ]\d{2})?(?!\d)",  # numéro de sécurité sociale
    r"(?<![\w.])\d{3}\.\d{3}\.\d{3}-\d{2}(?!\d)|(?<![\w.])\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}(?!\d)",  # CPF; INSZ
    r"(?<![\w.])[A-Z]\d{8}[A-Z]?(?!\w)|(?<![\w.])\d{8}-?[A-Z](?!\w)",  # Spanish identity cards
)

# --- places ------------------------------------------------------------------------------------------------------
LINK = (
    r"(?:(?:de(?:[ ](?:la|las|los|l['’]))?|del|do|da|dos|das|du|des|di|della|van(?:[ ](?:de[nr]?|het))?|"
    r"von(?:[ ]de[rnm])?|zu[mr]?|"
    r"am|im|an[ ]der|in[ ]de[nr]|auf[ ]de[rm]|y|e|et|la|las|los|le|les|St\.?|Sint|Sankt|Saint|Sainte|Ste?\.?|San|"
    r"Santa|Santo|São|"
    r"Nossa|Nuestra|Nostra)[ -]|d['’]|l['’]){0,3}"
)
PROPER = rf"{LINK}{CAPITAL}[\w'’.-]{{0,30}}\w"
PROPERS = rf"{PROPER}(?:[ ]{PROPER}){{0,4}}"
NUMBER_OF = r",?[ ]?(?:n\.?[ºo°][ ]?|nº[ ]?|no?[ ]|num\.?[ ])?\d{1,4}[ ]?(?:[a-zA-Z](?!\w)|bis|ter)?"
FLOOR = r"(?:,[ ]?\d{1,2}\.?[ºª°][ ]?(?:[A-Z]\w{0,3}\.?)?|,[ ](?:esq|dto|piso|apto|bl)\.?[ ]?\w{0,4})?"
POSTCODE = r"(?:[A-Z]{1,2}-)?(?:\d{5}-\d{3}|\d{4}-\d{3}|\d{4}[ ]?[A-Z]{2}|\d{4,5})"
TOWN = rf"(?:,?[ ]{POSTCODE}[ ]{PROPERS}|,[ ]{PROPERS})?"
STREET = (
    r"(?:straße|strasse|str\.|weg|platz|allee|gasse|ufer|damm|chaussee|steig|graben|straat|laan|plein|pad|gracht|"
    r"kade|dijk|singel|"
    r"steeg|dreef|hof|ring|markt|berg|baan|lei)"
)
ROAD = (
    r"(?:rue|avenue|av\.|boulevard|bd\.?|place|chemin|allée|impasse|route|quai|cours|square|passage|rés\.|résidence|"
    r"via|viale|"
    r"piazza|corso|largo)"
)
CALLE = (
    r"(?:C/|C\.|Calle|calle|Avda?\.?|Avenida|avenida|Plaza|plaza|Pza\.?|Pl\.|Paseo|paseo|P\.º|Ronda|Camino|"
    r"Carretera|Ctra\.?|Rua|rua|"
    r"R\.|Av\.|Travessa|travessa|Largo|Praça|praça|Estrada|Alameda|Beco|Via|Viale|Piazza|Corso)"
)
ADDRESSES = (
    rf"(?<!\w)(?:{PROPER}[ -])?{CAPITAL}[\w'’-]{{0,30}}?{STREET}[ ]\d{{1,4}}(?:/\d{{1,3}}){{0,2}}[ ]?"
    rf"(?:[a-zA-Z](?!\w))?(?!\d|[ ]?(?:mm|cm|x)\b){TOWN}",
    rf"(?<!\w)(?:Am|Im|An der|Auf dem|Zum|Zur)[ ]{PROPERS}[ ]\d{{1,3}}[a-z]?(?!\w|[.,]\d),[ ]\d{{4,5}}[ ]{PROPERS}",
    rf"(?<![\w.])\d{{1,4}}(?:[ ]?(?:bis|ter|quater))?,?[ ](?i:{ROAD})[ ]{PROPERS}{TOWN}",
    rf"(?<!\w){CALLE}[ ]?{PROPERS}{NUMBER_OF}{FLOOR}{TOWN}",
    rf"(?<![\w.,])(?:\d{{4}}-\d{{3}}|\d{{5}}-\d{{3}}|\d{{4}}[ ]?[A-Z]{{2}})[ ]{PROPERS}",
)
RESIDENCES = (
    rf"(?<!\w)(?:wohnhaft|wohnt|lebt|domicilié(?:e)?|réside|habite|vive|reside|residente|mora|woont|woonachtig|"
    rf"wonend|geboren|"
    rf"née?|nacid[oa]|natural|nascid[oa]|natif|native|afkomstig|originaire)[ ](?:aan[ ]de[ ]|aan[ ]het[ ]|in[ ]|"
    rf"à[ ]|au[ ]|en[ ]|em[ ]|"
    rf"na[ ]|no[ ]|te[ ]|uit[ ]|de[ ]|da[ ]|do[ ])?({PROPERS}(?:[ ]\d{{1,4}})?{TOWN})",
)
HOSPITAL_FIRST = (
    r"(?:Klinikum|Klinik|Krankenhaus|Spital|Universitätsklinikum|Universitätsspital|Universitätsmedizin|MVZ|"
    r"Gemeinschaftspraxis|"
    r"Radiologiepraxis|Facharztzentrum|CHRU?|CHU|CHI|Centre [Hh]ospitalier(?: [Uu]niversitaire| [Rr]égional)?|"
    r"[Hh]ôpital|Clinique|"
    r"clinique|Polyclinique|Institut|EHPAD|Clínica|clínica|Centro de [Ss]alud|Centro [Mm]édico|Centro [Hh]ospitalar|"
    r"Complejo "
    r"[Hh]ospitalario|Ambulatorio|Sanatorio|Santa Casa|Casa de Saúde|Maternidade|Unidade (?:Local )?de Saúde|USF|"
    r"UBS|UPA|"
    r"[Zz]iekenhuis|AZ|UZ|UMC|ZNA|Kliniek|kliniek|Medisch Centrum|MC|Gasthuis|Huisartsenpraktijk|Woonzorgcentrum|"
    r"WZC|Ospedale|"
    r"Policlinico)"
)
HOSPITAL_KIND = (
    r"(?:Universitari[oa]|Universitário|Comarcal|General|Geral|Clínico|Provincial|Regional|Distrital|Central|"
    r"Infantil|Militar|"
    r"Municipal|Privado|Particular|Civil|Materno)"
)
FACILITIES = (
    rf"(?<!\w){HOSPITAL_FIRST}[ ]{PROPERS}(?:(?:,| te)[ ]{PROPERS})?",
    rf"(?<!\w)[Hh]ospital[ ](?:{HOSPITAL_KIND}[ ]){{0,2}}(?:(?:de(?:[ ]la)?|del|da|do|dos|das|São|Santa|San|Santo|"
    rf"Nossa|Nuestra|Virgen)"
    rf"[ ]){{1,3}}{PROPERS}|(?<!\w)[Hh]ospital[ ]{HOSPITAL_KIND}[ ]{PROPERS}",
    rf"(?<!\w)(?:{CAPITAL}[\w'’]{{0,20}}-)?{CAPITAL}[\w'’]{{0,30}}-?(?:klinikum|krankenhaus|spital|ziekenhuis|"
    rf"hospital|kliniek|Klinikum|Krankenhaus|Spital|Ziekenhuis|"
    rf"Hospital|Klinik)(?:[ ]{PROPERS})?(?!\w)",
)

# --- names -------------------------------------------------------------------------------------------------------
EPONYM = (
    r"(?!(?:Crohn|Hodgkin|Bechterew|Paget|Scheuermann|Boeck|Perthes|Alzheimer|Parkinson|Wegener|Osler|Whipple|"
    r"Basedow|Addison|Cushing|"
    r"Behçet|Meni[eè]re|Fabry|Gaucher|Kahler|Waldenström|Ormond|Osgood|Sudeck|Dupuytren|Ledderhose|Kienböck|Köhler|"
    r"Wilson|Raynaud|"
    r"Still|Castleman|Forestier|Baastrup|Hirschsprung|Buerger|Werlhof|Bowen)\b)"
)
TITLE = (
    r"(?:(?:Herrn?|Frau|(?<!\d )(?<!\d)(?:Hr|Fr)\.|PD|Priv\.-Doz\.|Prof\.?|Univ\.-Prof\.|Dr\.?|dr\.?|Dres\.|drs\.|"
    r"Drs\.|Dipl\.-Med\.|OA|OÄ|"
    r"(?:Ober|Assistenz|Chef)(?:arzt|ärztin)(?![ ](?:der|des|für|im|am)\b)|Schwester|Pfleger|"
    r"MM\.|Mmes?|Mlle|Monsieur|Madame|Mademoiselle|Pr|Docteur|Docteure|Dre|Professeur|"
    r"Sr|Sra|Srta|D\.ª|Dña|Don|Doña|Dra|Prof(?:a|ª|\.ª)|Doctora?|Doutora?|Senhora?|Dona|Exm[oa]|Enfermeir[oa]|"
    r"Enfermer[oa]|"
    r"Sig|Sig\.ra|Sig\.na|Signora?|Dott|Dott\.ssa|Dhr|dhr|Mevr|mevr|[Mm]w|[Mm]evrouw|[Mm]eneer|[Dd]e heer|[Dd]okter|"
    r"mr|ir|"
    r"professor|Verpleegkundige|radioloog|longarts|huisarts|Radioloog|Huisarts|radiologue|radiólog[oa]|"
    r"radiologista)\.?"
    r"(?:[ ](?:med|rer|nat|h\.c|univ|habil|phil|dent|vet)\.){0,4})"
)
TITLES = rf"(?:{TITLE}[ ]+){{1,4}}"
SIGNED = (
    r"(?i:gez\.?|gezeichnet(?: von)?|befundet(?: von| durch)?|befunder(?:in)?|diktiert(?: von)?|vidiert(?: von|"
    r" durch)?|"
    r"freigegeben(?: von| durch)|validiert(?: von| durch)|erstellt (?:von|durch)|unterzeichnet(?: von)?|"
    r"elektronisch signiert von|"
    r"signé(?:e)?(?: électroniquement)?(?: par)?|dicté(?: par)|relu par|lu par|validé par|interprété par|rédigé par|"
    r"réalisé par|"
    r"compte[ -]rendu(?: validé| dicté)? par|"
    r"firmado(?: electrónicamente)?(?: por)?|informado por|validado por|dictado por|realizado por|revisado por|"
    r"fdo\.?|"
    r"assinado(?: eletronicamente| digitalmente)?(?: por)?|laudado por|relatado por|redigido por|ditado por|"
    r"revisto por|"
    r"ondertekend(?: door)?|verslagen door|verslag (?:door|van)|beoordeeld door|gedicteerd door|geautoriseerd door|"
    r"getekend|"
    r"gevalideerd door|verricht door|w\.g\.?|firmato(?: da)?|refertato da)"
)
LABEL = (
    r"(?i:arzt|ärztin|befunder(?:in)?|überweiser|zuweiser(?:in)?|anforderer|patient(?:in|e)?|untersucher(?:in)?|"
    r"mtra?|name|nachname|"
    r"médecin(?: prescripteur| traitant| radiologue| référent)?|prescripteur|radiologue|opérateur|manipulat(?:eur|"
    r"rice)|nom(?: du patient)?|"
    r"prénom|demandeur|médico(?: solicitante| informante| responsable| requisitante| peticionario)?|facultativo|"
    r"radiólog[oa]|paciente|"
    r"nombre|apellidos|solicitante|peticionario|nome(?: do (?:doente|paciente|utente))?|utente|doente|radiologista|"
    r"requisitante|técnic[oa]|"
    r"aanvrager|verslaglegger|radioloog|pati[eë]nt|naam|huisarts|verwijzer|laborant|arts|medico|paziente|cognome)"
)
TOLD = (
    r"(?:[Bb]esprochen mit|[Rr]ücksprache mit|[Dd]emonstriert (?:mit|bei)|mitgeteilt an|übermittelt an|"
    r"informiert wurde|weitergegeben an|"
    r"diskutiert mit|Absprache mit|[Dd]iscuté avec|transmis(?:e)? (?:au|à)|communiqué(?:e)? (?:au|à)|revu avec|"
    r"vu avec|[Aa]vis d[eu]|"
    r"[Cc]omentado con|comunicado a|comunicad[oa] al|avisado a|consensuado con|discutid[oa] com|comunicado (?:ao|à)|"
    r"informado (?:ao|à)|"
    r"partilhado com|[Bb]esproken met|doorgegeven aan|[Oo]verlegd met|[Oo]verleg met|gebeld met|doorgebeld (?:aan|"
    r"naar)|gemeld aan|"
    r"discusso con)(?:[ ](?:der|dem|den|die|el|la|l['’]|o|a|de|het|le))?"
)
NAMES = (
    rf"(?<!\w){TITLES}({NAME})",
    rf"(?<!\w)M\.[ ](?!tuberculosis){EPONYM}{NAME}",
    rf"(?<!\w){SIGNED}[ ]?:?[ ]+(?:{TITLES})?({LISTED}|{NAME})",
    rf"(?<!\w){LABEL}[ ]?:[ ]*(?:{TITLES})?({LISTED}|{NAME})",
    rf"(?<!\w){TOLD}[ ]+(?:{TITLES})?({NAME})",
    rf"(?<!\w)(?:Mrs?|Ms|Mx|Miss|Dr|Prof)\.?[ ]({CAPITAL})(?![\w.'’-])",
)
