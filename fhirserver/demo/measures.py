"""What is measured: LOINC code, UCUM unit, precision and reference range of each quantity."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from fhirserver.demo.concepts import UCUM, Concept, loinc


@dataclass(frozen=True, slots=True)
class Measure:
    """A quantity with its unit; `digits` decimals are written, `low` and `high` bound what is normal."""

    loinc: str
    display: str
    unit: str
    ucum: str
    digits: int
    low: float | None = None
    high: float | None = None
    code: Concept = field(init=False)
    range: list[dict[str, Any]] | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "code", loinc(self.loinc, self.display))
        object.__setattr__(self, "range", self._range())

    def _range(self) -> list[dict[str, Any]] | None:
        bounds: dict[str, Any] = {}
        if self.low is not None:
            bounds["low"] = self.quantity(self.low)
        if self.high is not None:
            bounds["high"] = self.quantity(self.high)
        return [bounds] if bounds else None

    def quantity(self, value: float) -> dict[str, Any]:
        """The Quantity in this measure's unit and precision; the value is a Decimal, or an int."""
        exact = Decimal(f"{value:.{self.digits}f}") if self.digits else round(value)
        return {"value": exact, "unit": self.unit, "system": UCUM, "code": self.ucum}

    def interpret(self, value: float) -> str:
        """`L`, `N` or `H` of http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation."""
        if self.low is not None and value < self.low:
            return "L"
        return "H" if self.high is not None and value > self.high else "N"


BLOOD_PRESSURE = loinc("85354-9", "Blood pressure panel with all children optional")
SMOKING = loinc("72166-2", "Tobacco smoking status NHIS")
SYSTOLIC = Measure("8480-6", "Systolic blood pressure", "mmHg", "mm[Hg]", 0)
DIASTOLIC = Measure("8462-4", "Diastolic blood pressure", "mmHg", "mm[Hg]", 0)
HEART_RATE = Measure("8867-4", "Heart rate", "beats/minute", "/min", 0)
RESPIRATION = Measure("9279-1", "Respiratory rate", "breaths/minute", "/min", 0)
TEMPERATURE = Measure("8310-5", "Body temperature", "Cel", "Cel", 1)
WEIGHT = Measure("29463-7", "Body weight", "kg", "kg", 1)
HEIGHT = Measure("8302-2", "Body height", "cm", "cm", 1)
BODY_MASS = Measure("39156-5", "Body mass index (BMI) [Ratio]", "kg/m2", "kg/m2", 1)
SATURATION = Measure("2708-6", "Oxygen saturation in Arterial blood", "%", "%", 0)
HEAD = Measure("9843-4", "Head Occipital-frontal circumference", "cm", "cm", 1)

GLUCOSE = Measure("2345-7", "Glucose [Mass/volume] in Serum or Plasma", "mg/dL", "mg/dL", 0, 70, 99)
A1C = Measure("4548-4", "Hemoglobin A1c/Hemoglobin.total in Blood", "%", "%", 1, 4.0, 5.6)
UREA = Measure("3094-0", "Urea nitrogen [Mass/volume] in Serum or Plasma", "mg/dL", "mg/dL", 0, 7, 20)
CREATININE = Measure("2160-0", "Creatinine [Mass/volume] in Serum or Plasma", "mg/dL", "mg/dL", 2, 0.6, 1.3)
EGFR = Measure(
    "98979-8",
    "Glomerular filtration rate/1.73 sq M.predicted by Creatinine-based formula (CKD-EPI 2021)",
    "mL/min/{1.73_m2}", "mL/min/{1.73_m2}", 0, 60,
)  # fmt: skip
SODIUM = Measure("2951-2", "Sodium [Moles/volume] in Serum or Plasma", "mmol/L", "mmol/L", 0, 136, 145)
POTASSIUM = Measure("2823-3", "Potassium [Moles/volume] in Serum or Plasma", "mmol/L", "mmol/L", 1, 3.5, 5.1)
CHLORIDE = Measure("2075-0", "Chloride [Moles/volume] in Serum or Plasma", "mmol/L", "mmol/L", 0, 98, 107)
BICARBONATE = Measure(
    "2028-9", "Carbon dioxide, total [Moles/volume] in Serum or Plasma", "mmol/L", "mmol/L", 0, 22, 29
)
CALCIUM = Measure("17861-6", "Calcium [Mass/volume] in Serum or Plasma", "mg/dL", "mg/dL", 1, 8.6, 10.2)
CHOLESTEROL = Measure(
    "2093-3", "Cholesterol [Mass/volume] in Serum or Plasma", "mg/dL", "mg/dL", 0, None, 199
)
TRIGLYCERIDE = Measure(
    "2571-8", "Triglyceride [Mass/volume] in Serum or Plasma", "mg/dL", "mg/dL", 0, None, 149
)
HDL = Measure("2085-9", "Cholesterol in HDL [Mass/volume] in Serum or Plasma", "mg/dL", "mg/dL", 0, 40)
LDL = Measure(
    "13457-7", "Cholesterol in LDL [Mass/volume] in Serum or Plasma by calculation",
    "mg/dL", "mg/dL", 0, None, 129,
)  # fmt: skip
HEMOGLOBIN = Measure("718-7", "Hemoglobin [Mass/volume] in Blood", "g/dL", "g/dL", 1, 12.0, 17.5)
HEMATOCRIT = Measure(
    "4544-3", "Hematocrit [Volume Fraction] of Blood by Automated count", "%", "%", 1, 36.0, 50.0
)
ERYTHROCYTES = Measure(
    "789-8", "Erythrocytes [#/volume] in Blood by Automated count", "10*6/uL", "10*6/uL", 2, 3.9, 5.7
)
CELL_VOLUME = Measure("787-2", "MCV [Entitic volume] by Automated count", "fL", "fL", 1, 80.0, 100.0)
CELL_HEMOGLOBIN = Measure("785-6", "MCH [Entitic mass] by Automated count", "pg", "pg", 1, 27.0, 33.0)
LEUKOCYTES = Measure(
    "6690-2", "Leukocytes [#/volume] in Blood by Automated count", "10*3/uL", "10*3/uL", 1, 4.5, 11.0
)
PLATELETS = Measure(
    "777-3", "Platelets [#/volume] in Blood by Automated count", "10*3/uL", "10*3/uL", 0, 150, 400
)
THYROTROPIN = Measure(
    "3016-3", "Thyrotropin [Units/volume] in Serum or Plasma", "m[IU]/L", "m[IU]/L", 2, 0.4, 4.5
)
THYROXINE = Measure(
    "3024-7", "Thyroxine (T4) free [Mass/volume] in Serum or Plasma", "ng/dL", "ng/dL", 2, 0.8, 1.8
)
REACTIVE_PROTEIN = Measure(
    "1988-5", "C reactive protein [Mass/volume] in Serum or Plasma", "mg/L", "mg/L", 1, None, 5.0
)
ALT = Measure(
    "1742-6", "Alanine aminotransferase [Enzymatic activity/volume] in Serum or Plasma",
    "U/L", "U/L", 0, 7, 56,
)  # fmt: skip
AST = Measure(
    "1920-8", "Aspartate aminotransferase [Enzymatic activity/volume] in Serum or Plasma",
    "U/L", "U/L", 0, 10, 40,
)  # fmt: skip
BILIRUBIN = Measure(
    "1975-2", "Bilirubin.total [Mass/volume] in Serum or Plasma", "mg/dL", "mg/dL", 1, 0.1, 1.2
)
ALBUMIN_RATIO = Measure(
    "14959-1", "Microalbumin/Creatinine [Mass Ratio] in Urine", "mg/g", "mg/g", 0, None, 30
)
