"""The records that the packages exchange through files: frozen, checked when made, no I/O."""

from greenbatch.records.artifact import (
    Fidelity,
    InputSpec,
    Manifest,
    Parity,
    TensorSpec,
    WeightsRecord,
    parse_manifest,
)
from greenbatch.records.cells import IO, PRECISIONS, SCENARIOS, TRAFFIC, Cell, Flag, Status
from greenbatch.records.energy import (
    EnergyFigure,
    EnergySource,
    EnergyTotal,
    IdleFigure,
    total_energy,
)
from greenbatch.records.fairness import FACTORS
from greenbatch.records.journal import Journal, Record, decode, encode, parse
from greenbatch.records.results import (
    SCHEMA,
    Agreement,
    AsPublished,
    Capacity,
    Conditions,
    Idle,
    OneOff,
    Queue,
    Repetition,
    WarmUp,
)

__all__ = [
    "FACTORS",
    "IO",
    "PRECISIONS",
    "SCENARIOS",
    "SCHEMA",
    "TRAFFIC",
    "Agreement",
    "AsPublished",
    "Capacity",
    "Cell",
    "Conditions",
    "EnergyFigure",
    "EnergySource",
    "EnergyTotal",
    "Fidelity",
    "Flag",
    "Idle",
    "IdleFigure",
    "InputSpec",
    "Journal",
    "Manifest",
    "OneOff",
    "Parity",
    "Queue",
    "Record",
    "Repetition",
    "Status",
    "TensorSpec",
    "WarmUp",
    "WeightsRecord",
    "decode",
    "encode",
    "parse",
    "parse_manifest",
    "total_energy",
]
