"""The diseases of the invented people and what is done about each: tables, no logic."""

from __future__ import annotations

from dataclasses import dataclass

from fhirserver.demo.concepts import INHALED, ORAL, RXNORM, Concept, concept, snomed


@dataclass(frozen=True, slots=True)
class Medication:
    """A drug as ordered: `frequency` doses a day of `amount` `unit`s; `as_needed` for on-demand use."""

    code: Concept
    route: Concept
    frequency: int = 1
    amount: int = 1
    unit: str = "tablet"
    as_needed: bool = False


@dataclass(frozen=True, slots=True)
class Chronic:
    """A lasting disease: the chance to have it at `typical_age` and older (half of it ten years before)."""

    key: str
    code: Concept
    typical_age: int
    chance: float
    medications: tuple[Medication, ...]
    panels: tuple[str, ...]
    procedures: tuple[Concept, ...]
    activities: tuple[Concept, ...]
    goal: str


@dataclass(frozen=True, slots=True)
class Acute:
    """A passing illness: `weight` among the others, age range in years, how it is met and treated."""

    code: Concept
    weight: float
    ages: tuple[int, int]
    days: int
    fever: float = 0.0
    setting: str = "AMB"
    medication: Medication | None = None
    procedure: Concept | None = None
    panels: tuple[str, ...] = ()


def _drug(code: str, display: str, frequency: int = 1, *, as_needed: bool = False) -> Medication:
    return Medication(concept(RXNORM, code, display), ORAL, frequency, as_needed=as_needed)


def _inhaler(code: str, display: str, frequency: int, *, as_needed: bool = False) -> Medication:
    return Medication(concept(RXNORM, code, display), INHALED, frequency, 2, "puff", as_needed)


IBUPROFEN = _drug("310965", "Ibuprofen 200 MG Oral Tablet", 3, as_needed=True)
ACETAMINOPHEN = _drug("313782", "Acetaminophen 325 MG Oral Tablet", 4, as_needed=True)
AMOXICILLIN = Medication(
    concept(RXNORM, "308182", "Amoxicillin 250 MG Oral Capsule"), ORAL, frequency=3, unit="capsule"
)
ALBUTEROL = _inhaler("745679", "200 ACTUAT Albuterol 0.09 MG/ACTUAT Metered Dose Inhaler", 4, as_needed=True)
FLUTICASONE = _inhaler("895994", "120 ACTUAT Fluticasone propionate 0.044 MG/ACTUAT Metered Dose Inhaler", 2)

CHRONIC: tuple[Chronic, ...] = (
    Chronic(
        "hypertension", snomed("38341003", "Hypertensive disorder"), 50, 0.45,
        (
            _drug("314076", "Lisinopril 10 MG Oral Tablet"),
            _drug("197361", "Amlodipine 5 MG Oral Tablet"),
            _drug("310798", "Hydrochlorothiazide 25 MG Oral Tablet"),
        ),
        ("metabolic",),
        (snomed("29303009", "Electrocardiographic procedure"), snomed("40701008", "Echocardiography")),
        (snomed("386619000", "Low sodium diet"), snomed("229065009", "Exercise therapy")),
        "Blood pressure below 140/90 mmHg",
    ),
    Chronic(
        "diabetes", snomed("44054006", "Diabetes mellitus type 2"), 50, 0.17,
        (
            _drug("861007", "Metformin hydrochloride 500 MG Oral Tablet", 2),
            _drug("310534", "Glyburide 2.5 MG Oral Tablet"),
        ),
        ("glucose", "metabolic"),
        (
            snomed("134395001", "Diabetic retinopathy screening"),
            snomed("401191002", "Diabetic foot examination"),
        ),
        (snomed("160670007", "Diabetic diet"), snomed("229065009", "Exercise therapy")),
        "Hemoglobin A1c below 7.0 %",
    ),
    Chronic(
        "lipids", snomed("55822004", "Hyperlipidemia"), 45, 0.3,
        (
            _drug("617310", "Atorvastatin 20 MG Oral Tablet"),
            _drug("312961", "Simvastatin 20 MG Oral Tablet"),
        ),
        ("lipid", "liver"),
        (),
        (snomed("226234005", "Healthy diet"), snomed("229065009", "Exercise therapy")),
        "LDL cholesterol below 100 mg/dL",
    ),
    Chronic(
        "asthma", snomed("195967001", "Asthma"), 6, 0.09,
        (FLUTICASONE, ALBUTEROL),
        ("count",),
        (snomed("23426006", "Measurement of respiratory function"),),
        (snomed("229298005", "Breathing control"), snomed("58332002", "Allergy education")),
        "No night-time symptoms and no limits on activity",
    ),
    Chronic(
        "obstruction", snomed("13645005", "Chronic obstructive lung disease"), 60, 0.1,
        (ALBUTEROL, FLUTICASONE),
        ("count",),
        (
            snomed("399208008", "Plain X-ray of chest"),
            snomed("23426006", "Measurement of respiratory function"),
        ),
        (snomed("53950000", "Respiratory therapy"), snomed("229298005", "Breathing control")),
        "Fewer than two exacerbations a year",
    ),
    Chronic(
        "kidney", snomed("433144002", "Chronic kidney disease stage 3"), 65, 0.15,
        (_drug("314076", "Lisinopril 10 MG Oral Tablet"),),
        ("metabolic", "albumin", "count"),
        (),
        (snomed("386619000", "Low sodium diet"),),
        "Stable glomerular filtration rate",
    ),
    Chronic(
        "thyroid", snomed("40930008", "Hypothyroidism"), 40, 0.07,
        (_drug("892246", "Levothyroxine Sodium 0.1 MG Oral Tablet"),),
        ("thyroid",),
        (),
        (),
        "Thyrotropin between 0.4 and 4.5 mIU/L",
    ),
    Chronic(
        "depression", snomed("35489007", "Depressive disorder"), 25, 0.11,
        (_drug("312941", "Sertraline 50 MG Oral Tablet"),),
        (),
        (snomed("171207006", "Depression screening"),),
        (snomed("229065009", "Exercise therapy"),),
        "Return to usual activities",
    ),
    Chronic(
        "heart-failure", snomed("88805009", "Chronic congestive heart failure"), 70, 0.1,
        (
            _drug("313988", "Furosemide 40 MG Oral Tablet"),
            _drug("866514", "Metoprolol tartrate 50 MG Oral Tablet", 2),
        ),
        ("metabolic", "count"),
        (snomed("40701008", "Echocardiography"), snomed("399208008", "Plain X-ray of chest")),
        (snomed("386619000", "Low sodium diet"), snomed("385715006", "Cardiac care")),
        "No weight gain of more than 2 kg in three days",
    ),
    Chronic(
        "arthritis", snomed("239873007", "Osteoarthritis of knee"), 60, 0.22,
        (ACETAMINOPHEN, _drug("198014", "Naproxen 500 MG Oral Tablet", 2, as_needed=True)),
        (),
        (snomed("74016001", "Knee X-ray"), snomed("91251008", "Physical therapy procedure")),
        (snomed("386294003", "Joint mobility exercises"),),
        "Walk 30 minutes without pain",
    ),
    Chronic(
        "anemia", snomed("271737000", "Anemia"), 30, 0.06,
        (_drug("310325", "Ferrous sulfate 325 MG Oral Tablet"),),
        ("count",),
        (),
        (),
        "Hemoglobin above 12 g/dL",
    ),
    Chronic(
        "rhinitis", snomed("367498001", "Seasonal allergic rhinitis"), 8, 0.14,
        (_drug("1014676", "Cetirizine hydrochloride 5 MG Oral Tablet", as_needed=True),),
        (),
        (snomed("395142003", "Allergy screening test"),),
        (snomed("58332002", "Allergy education"),),
        "Symptom-free pollen season",
    ),
)  # fmt: skip

ACUTE: tuple[Acute, ...] = (
    Acute(snomed("195662009", "Acute viral pharyngitis"), 16, (1, 100), 9, 0.4, medication=ACETAMINOPHEN),
    Acute(snomed("444814009", "Viral sinusitis"), 16, (3, 100), 14, 0.2, medication=IBUPROFEN),
    Acute(snomed("10509002", "Acute bronchitis"), 11, (3, 100), 12, 0.4, medication=ACETAMINOPHEN,
          procedure=snomed("23426006", "Measurement of respiratory function")),
    Acute(snomed("65363002", "Otitis media"), 12, (0, 14), 10, 0.7, medication=AMOXICILLIN),
    Acute(snomed("43878008", "Streptococcal sore throat"), 7, (3, 40), 10, 0.9,
          medication=_drug("834061", "Penicillin V Potassium 250 MG Oral Tablet", 4),
          procedure=snomed("117015009", "Throat culture")),
    Acute(snomed("68566005", "Urinary tract infectious disease"), 8, (15, 100), 7, 0.3,
          medication=_drug("562251", "Amoxicillin 250 MG / Clavulanate 125 MG Oral Tablet", 3)),
    Acute(snomed("6142004", "Influenza"), 8, (0, 100), 10, 0.95, medication=ACETAMINOPHEN),
    Acute(snomed("25374005", "Gastroenteritis"), 8, (0, 100), 5, 0.4, panels=("metabolic",)),
    Acute(snomed("840539006", "Disease caused by Severe acute respiratory syndrome coronavirus 2"), 6,
          (5, 100), 14, 0.8, medication=ACETAMINOPHEN, panels=("inflammation",)),
    Acute(snomed("44465007", "Sprain of ankle"), 6, (6, 80), 21, setting="EMER", medication=IBUPROFEN,
          procedure=snomed("229586001", "Rest, ice, compression and elevation treatment programme")),
    Acute(snomed("283371005", "Laceration of forearm"), 4, (2, 90), 14, setting="EMER",
          medication=ACETAMINOPHEN, procedure=snomed("288086009", "Suture open wound")),
    Acute(snomed("65966004", "Fracture of forearm"), 3, (4, 90), 60, setting="EMER", medication=IBUPROFEN,
          procedure=snomed("274474001", "Bone immobilization")),
    Acute(snomed("62106007", "Concussion with no loss of consciousness"), 2, (4, 90), 30, setting="EMER"),
    Acute(snomed("233604007", "Pneumonia"), 3, (40, 100), 21, 0.9, "IMP", AMOXICILLIN,
          snomed("399208008", "Plain X-ray of chest"), ("count", "inflammation")),
    Acute(snomed("74400008", "Appendicitis"), 1.5, (6, 60), 12, 0.8, "IMP", ACETAMINOPHEN,
          snomed("80146002", "Excision of appendix"), ("count", "inflammation")),
)  # fmt: skip
