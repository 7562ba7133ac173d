"""Claims of papers against the numbers of runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluation.report import Mark, Report


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        text: What the paper says.
        source: Where.
        measure: What is compared, and how; the measure, and a bound where one is needed, are ours unless it says so.
        values: Name to number, the evidence.
        holds: None where the runs cannot tell.
        missing: What they would need; empty where they can tell.
    """

    text: str
    source: str
    measure: str
    values: Mapping[str, float]
    holds: bool | None
    missing: str = ""

    @property
    def verdict(self) -> str:
        """Holds, does not hold, or not measurable with these runs."""
        return "not measurable with these runs" if self.holds is None else "holds" if self.holds else "does not hold"


def unmeasured(text: str, source: str, missing: str) -> Claim:
    """A claim that the runs at hand cannot tell about."""
    return Claim(text, source, "", {}, None, missing)


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Least-squares slope of y over x, which must vary."""
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)


def add_claims(report: Report, claims: Sequence[Claim]) -> None:
    """A table of claims with their evidence."""
    rows: list[list[str | float | bool | Mark]] = [
        [
            claim.text,
            claim.source,
            "; ".join(part for part in (claim.measure, claim.missing and f"needs {claim.missing}") if part),
            "; ".join(f"{name} {value:.3g}" for name, value in claim.values.items()),
            Mark(claim.verdict, claim.holds),
        ]
        for claim in claims
    ]
    report.table(["claim", "where", "measure", "values", "verdict"], rows)
