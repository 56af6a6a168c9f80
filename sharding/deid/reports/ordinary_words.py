"""Words of reports, file names and places that are not names by themselves.

In: nothing. Out: sets of lower-case words for `identity_patterns` and `identifiers`. Not a dictionary: words that are
found where a name could be, and names that are also words of reports.
"""

from __future__ import annotations


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Words after "Dr.", "discussed with", "signed by" and the like that are not a name.
NOT_A_NAME = _set("""
    a abdomen abnormal abnormalities abnormality about acknowledged acquisition acute addendum additional admitted
    after again age agreed agrees all also am an and anesthesia angiogram angiography anterior any ap approximately
    are around arthrogram artifact artifacts as assistant at atelectasis attending aware baby back be because
    bedside been before being between bilateral birth both boy brain but by called caller can cardiac cardiology
    cardiomegaly cardiothoracic care cat catheter ccu cervical change changes chest child chronic class clear
    clinician clinicians comparison concerning confirmed consider consolidation consultant contrast correlate could
    covering critical ct cta cxr date day denies department dept detector detectors devices dictated did digital
    discussed disease do dob dobhoff doctor doctors does done doppler dr drs due during each ed edema effusion
    elastography electronically email emergency ent enterography er erect evidence exam examination exams expiration
    family father fax fellow female film films final finding findings first floor fluoroscopy follow following for
    from frontal further gender general gi girl given had hardware has have having he head heart hematology her him
    his history hospitalist hours house however hrs i icu id if image images imaging immediately impression in
    indication infant information informed inspiration intensive intensivist intern internal interval into is it its
    lateral left lesion lesions likely line lines location lower lumbar lung lungs male mammogram man mass masses
    may mbbs md medical medicine member micu middle might mild miss moderate mother mr mra mri mrs ms must mx n/a na
    name names neck nephrology neurology neurosurgery new nicu night nil nm no no. nobody nodule nodules none nor
    normal not noted notes notified now np number nurse nurses nursing ob obgyn of office officer on oncology one
    opacities opacity or ordering orthopedic orthopedics our over pa pac pacemaker pacu page pager parent parents
    patient patients pcp pediatric pediatrics pelvis per person pet phd phone physician physicians picu plaque
    plaques plate please pleural pm pneumonia pneumothorax port portable position positioned positioning possible
    posterior practice practitioner preliminary presented presenting presents previous primary prior probable
    process prof professor protocol provider providers psychiatry pt pulmonary pulmonology quality radiograph
    radiographs radiography radiologist radiologists radiology read reads recommend recommendation recommended
    recommends referring regarding report reported reports requested requesting requests resident residents result
    results review reviewed right rn room rotated rotation rt scan scans second semi-erect semierect series service
    services severe sex shall she should sicu signed since sonogram specialist spectroscopy spine stable staff
    stated states status studies study supine support surgeon surgeons surgery surgical swan-ganz system systems tbd
    team teams tech technique technologist technologists telephone than that the their them then there there's these
    they third this thoracic those three time to today tomorrow transcribed transplant trauma tube tubes two type
    ultrasound unavailable unchanged under understood underwent unit unknown until upper upright urography urology
    us value values vascular venography verbal verbally via view views voicemail ward was we were wet what when
    where which while who whom whose will with within without woman would x-ray xray yesterday you your
""")

# Abbreviations that are not a name in capitals; "Ng" is one.
ACRONYMS = _set("AI ARDS CABG CHF COPD CVA CVC DVT ET ETT HIV IJ IPF IVC NG NSIP OG PE PICC SOB SVC TB TIA UIP")

# Names that are also ordinary words of reports: masked only if they look like a name.
ORDINARY = NOT_A_NAME | _set("""
    abel across admin administrator ago akin ally along angle angles anon anonymised anonymized anonymous apex april
    arch arm arms arrow art august axis baby ball ban band bands bar barrett base bases basis bass bay beam bean bed
    bell belt benign best better bill bin bird bishop black blank blood blue blunt body bolt bolus bone bones border
    bow bowel bowl branch breast breath bright broad brown buckle bulla burn burns bush button cage calf calm cam
    camp canal cap carina case cases cast cava cave cell center centers central chain chamber chase child chin chip
    christian church clay cliff clinical clip clips close clothing cloud coarse coil coin cold collapse cone contour
    cook core corner corona cough count course cox crackles cream crest cross crowding crush curl current curve cut
    cyst dale dark dawn days dean decline deep default deidentified demo dense density dent depth diffuse disc disk
    distal distress dome dominant don donor dose double drain drains drew drummond dry duke dull dummy duo early
    east edge effort egg eight elbow elevated end ends even event ever extreme eye fail faint fair faith falls far
    fast fat fatty fay fee feeding fever few field fields fine finger firm fish fissure five fix flank flap flare
    flat flow fluid focal focus fold folds foot ford foreign forge foster found four fox fracture frank free french
    fresh fro front full fuller gal gap gas gates gene gerd get giant gin glass good gore got grace grade grand
    grant gray great green grey gross ground guest guide gum gut guy half hall hampton hand hands hard hare hart
    haze hazy healing healthy heavy held help hernia high hila hilar hill hilum hip hold hole holes hollow holt home
    hook hope horn how human hunter ill illness implant improve incline increase infant inlet intact ivy jack jar
    jaw jet joint joints joy june just kerley key kidney knee knob known lance lane lap large las last late later
    law lay layer lead leads leaf leak lean least leg legs less let level levels lie lift light limb limbs limit
    limits linear little liver lobe lobes log long loop loops loss lot low luc lucent lump lymph mac mad main major
    mantle many mar margin mark marked marker markers markings marrow mask mason mat max mean means medial median
    men mesh met mia mid miles mill min mine minor minute mitral mix moist monitor moon morbid more moss mouth nail
    nan near need nerve net newborn nice nick nine noble nod nodal node nodes noon north nose notch off oil old
    olive opaque open operator organ other out own pace pack pads paget pain pale palm pan park part parts past pat
    patch patchy pay peak pen penny petite phantom pierce pill pills pin pink pins pit place plain plane plant
    pleura pole pool poor pope positive post pouch power pre present price prime prominent pulse pump pure put quo
    ram ran range rapid rapids rate raw ray rays red reed region reid rest rex rib ribs rich ridge rim ring rings
    ripe river rock rod rods root rose rotten rough round rounded row royal rub ruby rule run rush russet rusty sac
    same sand sap sars saw say scar scars scattered screw screws sea seal see seen self sent septum serial set seven
    several shadow shadows shaft shallow shape shaped sharp shift short shoulder shunt shy sick side sign signs
    silhouette silver simple sin single sister sit site six size ski skin sky sleeve slight slightly sling slope
    small smart smooth snow soft solid some son soon sore south space spaces spare sparse spear speck speech spikes
    spot spots spring stack stage staple star start state steady stem stent step sternum still stomach stone stones
    strand strange streak street stress stroke strong strut stump sub subtle sudden sue sum summer sun super swab
    sweet swift tan tap tear temple ten tension tent term test tester testing thick thin tie tin tip tips tissue
    tissues toe ton tongue too top torn total trace trachea track tract trap travel tree trial trunk try tumor turn
    twin ulna union unnamed urban use user usual valve van vein vena venous vera version very vest victor virus
    visible visual void volume volumes vow wade wale walker wall walls wards warm waste water waters wave wax way
    weak web wedge weeks wegener weight well wells west wheeler white why wide width win winter wire wires wise wolf
    won wood woods worse worst worth wound wright wrist year years yellow yes yet young yum zip zone zones
""")

# Parts of file names, folders and generated ids.
FILE_WORDS = _set("""
    abnormal admission ap archive ards atelectasis bacterial baseline batch bedside bimcv bmp brixia
    cardiomediastinum cardiomegaly case cases center centre chest chexpert clinic common consolidation control
    controls copy corona cov covid csv cxr data database dataset datasets day days dcm demo desktop device devices
    dicom dicoms dir discharge disease documents downloads edema effusion effusions emphysema enlarged erect eval
    exam example examples exams export exports fibrosis file files final finding findings flu fold folder follow
    followup fracture fractures frame frames front frontal gif gz healthy hernia home hospital im image images img
    imgs infiltrate infiltrates infiltration influenza input inputs iu jpeg jpg json jsrt kaggle label labels lat
    lateral left lesion lesions ll local lung lungs malformed mass masses media mimic mnt montgomery ms neg negative
    new nih nii nodule nodules noext none normal old opacities opacity openi opt orig original other out output pa
    padchest part participant parts pat patient patients people person photo pic picture pictures pixel pixels
    pleural pneumonia pneumothorax png portable pos positive post pre private pt pts public radiograph radiographs
    radiology raw ray rays real report reports right root rsna sample samples sars sbj scan scanner scans ser series
    set sets share shared shenzhen side siim site slice slices split srv station studies study sub subj subject
    subjects supine support syntax synthetic tb tcia test testing thickening thorax tif tiff time timepoint tmp
    train training trainval tuberculosis txt unknown up user users val valid validate validation var version view
    views vindr viral virus visit visits volunteer x-ray xml xr xray xrays zip
    """)

# Parts of the names of institutions, wards and addresses that identify nothing alone.
PLACE_WORDS = _set("""
    affairs ag am and associates at avenue bed block box building campus cancer cardiology care center centers
    central centre centres chest children childrens city clinic clinics college community corp county court das de
    department dept der diagnostic diagnostics die disease diseases division drive du ear east eastern emergency eye
    floor for foundation general gmbh great group hall health healthcare heart highway hill hopital hospital
    hospitals house im imaging in inc infectious infirmary inpatient institute institution intensive klinik klinikum
    krankenhaus la lady lake lane llc lower ltd main maternity medical medicine memorial national new nhs north
    northern of office old oncology orthopaedic orthopedic ospedale our outpatient park parkway partners pediatric
    pediatrics place pulmonary radiology regional rehabilitation respiratory river road room saint school section
    service services south southern square st state street suite surgery system systems the thoracic tower trauma
    trust unit universitaet universitat university upper valley van veterans von ward way west western wing women
    womens xray
""")

# Titles, and with them credentials and generation marks, in a written name.
TITLES = _set("doctor dr drs md miss mr mrs ms mx prof professor")
AFFIXES = TITLES | _set("""
    bsc dame dds do dpm esq facr fr frcp frcr ii iii iv jr mbbs mbchb mph msc np pa pac phd ret rev rn rt sir sr
    """)
