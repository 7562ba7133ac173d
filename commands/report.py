"""``lightning report``: runs side by side on one page."""

from pathlib import Path

from evaluation.report import write_texts
from evaluation.run_records import read_run, short_labels
from evaluation.run_report import compare_runs
from renderers.errors import InputError


def report(
    runs: list[Path],
    *,
    output: Path,
    labels: tuple[str, ...] = (),
    title: str = "Runs side by side",
    overwrite: bool = False,
) -> None:
    """Write one page that shows runs side by side: settings that differ, metrics, training curves, figures, measured edits, and for
    StyleRig what of the paper's claims holds.

    Args:
        runs: folders of runs, runs/NAME/ID, of any method; figures and measurements are there after 'lightning test'.
        output: HTML file, with all pictures inside; its numbers are written beside it as .csv.
        labels: short names of the runs, one each; by default the runs' own names.
        title: of the page.
        overwrite: replace an earlier page.
    """
    if output.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"expected a page to write to, such as report.html, got {output}; give --output a name that ends in .html")
    numbers = output.with_suffix(".csv")
    if not overwrite and (output.exists() or numbers.exists()):
        raise InputError(f"expected a new page, {output} or {numbers.name} exists; name another, or give --overwrite")
    if not runs:
        raise InputError("expected the folder of at least one run, got none; name folders such as runs/NAME/ID")
    if labels and (len(labels) != len(runs) or len(set(labels)) != len(labels)):
        raise InputError(f"expected a different label for each of {len(runs)} runs, got {', '.join(labels)}; correct --labels")
    records = [read_run(folder) for folder in runs]
    page, table = compare_runs(records, labels or short_labels(records), title)
    write_texts({numbers: table, output: page.text()})
    print(f"{len(records)} run{'s' * (len(records) > 1)} on {output}, numbers in {numbers.name}")
