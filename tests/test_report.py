"""Runs side by side on one page, and what the paper claims of them."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

import cli
from commands.report import report
from evaluation.claims import add_claims
from evaluation.figure_overlay import overlaid_lines
from evaluation.figures import Figure, write_figures
from evaluation.report import Report
from evaluation.run_records import binned, differing_keys, read_run, short_labels
from evaluation.run_report import compare_runs
from evaluation.stylerig.claims import asymmetry_claim, in_plane_claim, layer_claim, stylerig_claims
from evaluation.stylerig.runs import nearest, rig_runs
from renderers.errors import InputError

_PICTURE = Image.new("RGB", (20, 10), "red")


def write_run(
    folder: Path,
    controls: tuple[str, ...] = ("rotation",),
    figures: tuple[Figure, ...] = (),
    edits: dict[str, dict[str, Any]] | None = None,
    model: str = "lightning_modules.stylerig.StyleRig",
    loss: float = 1.0,
    **settings: Any,
) -> Path:
    """A run's folder as training and test leave it."""
    folder.mkdir(parents=True)
    chosen = {"controls": [{"component": name, "weight": 1.0} for name in controls], "learning_rate": 0.003, **settings}
    config = {
        "seed_everything": 3,
        "model": {"class_path": model, "init_args": {"generator": "g.safetensors", "settings": chosen}},
        "run": {"name": folder.parent.name, "id": None},
    }
    (folder / "config.yaml").write_text("# latentrig 0.1.0, torch 2.6.0\n# lightning fit\n" + yaml.safe_dump(config))
    rows = [f"0,{step},{loss + 10 - step}," for step in range(10)] + [f"0,9,,{loss}"]
    (folder / "metrics.csv").write_text("epoch,step,train/loss,validate/loss\n" + "\n".join(rows) + "\n")
    for component, values in (edits or {}).items():
        (folder / f"{component}_edits.json").write_text(json.dumps(values))
    if figures:
        write_figures(folder, figures)
    return folder


def measured(error_ratio: float, frechet: float | None, expression: float, light: float) -> dict[str, Any]:
    changes = {"expression": expression, "illumination": light}
    return {
        "component": "rotation",
        "reader": "the judge",
        "pairs": 500,
        "edited": {"turn_deg": 12.0, "rotation_error_deg": 16 * error_ratio, "changes": changes},
        "error_ratio": error_ratio,
        "frechet_to_unedited": frechet,
        "yaw_slope": 0.9,
    }


def curve(values: tuple[float, ...], name: str = "losses") -> Figure:
    return Figure(name, "Losses", "By size.", ("size", "loss"), tuple(enumerate(values)), _PICTURE)


def layers(rotation: tuple[float, float, float]) -> Figure:
    rows = (("equal_change", 16.0, 0.3, 0.4, 0.3), ("rotation_change", 8.0, *rotation))
    return Figure("layer_changes", "Fig. 4", "", ("measure", "centre_px", "coarse_share", "medium_share", "fine_share"), rows)


def losses(component: str, edit: float, consistency: float) -> Figure:
    columns = ("component", "edit_loss_smallest", "edit_loss_largest", "consistency_loss_smallest", "consistency_loss_largest")
    return Figure("losses_by_edit_size", "Losses", "", columns, ((component, 0.1, edit, 0.1, consistency),))


def claims_of(*folders: Path) -> dict[str, list[bool | None]]:
    runs = [read_run(folder) for folder in folders]
    verdicts: dict[str, list[bool | None]] = {}
    for claim in stylerig_claims(rig_runs(runs, short_labels(runs))):
        verdicts.setdefault(claim.text.split()[0] + " " + claim.text.split()[1], []).append(claim.holds)
    return verdicts


def test_what_a_folder_tells(tmp_path):
    run = read_run(write_run(tmp_path / "pose" / "a", figures=(curve((1, 2)),), edits={"rotation": {"error_ratio": 0.3}}))
    assert (run.name, run.id, run.method) == ("pose", "a", "StyleRig") and run.versions == "latentrig 0.1.0, torch 2.6.0"
    assert run.last_metrics() == {"train/loss": 2.0, "validate/loss": 1.0}
    assert run.flat_config()["model.settings.controls.0.component"] == "rotation"
    assert list(run.figures) == ["losses"] and run.measurements["rotation_edits"] == {"error_ratio": 0.3}


def test_a_test_run_without_metrics_is_read(tmp_path):
    (tmp_path / "config-test.yaml").write_text("# latentrig\nseed_everything: 1\n")
    run = read_run(tmp_path)
    assert (run.config, run.metrics, run.figures, run.method) == ({"seed_everything": 1}, {}, {}, "")


def test_folders_that_no_run_wrote(tmp_path):
    with pytest.raises(InputError, match="holds none of them"):
        read_run(tmp_path)
    with pytest.raises(InputError, match="is none"):
        read_run(tmp_path / "missing")


@pytest.mark.parametrize(
    "name, text",
    [
        ("config.yaml", "a: [1"),
        ("config.yaml", "- 1"),
        ("metrics.csv", "step,loss\n1,much\n"),
        ("a_edits.json", "{"),
        ("a.calibration.json", "{}"),
        ("figures/figures.json", "{}}"),
    ],
)
def test_broken_files_are_named(tmp_path, name, text):
    folder = write_run(tmp_path / "pose" / "a", figures=(curve((1, 2)),))
    (folder / name).write_text(text)
    with pytest.raises(InputError, match=str(folder)):
        read_run(folder)


def test_labels_are_unique_and_short(tmp_path):
    names = ("pose/a", "pose/b", "light/a")
    runs = [read_run(write_run(tmp_path / name)) for name in names]
    assert short_labels(runs) == ["pose a", "pose b", "light"]
    assert short_labels([runs[0], runs[0]]) == ["pose a #1", "pose a #2"]


def test_only_what_differs_is_shown():
    assert differing_keys([{"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}]) == {"b": ["2", "3"], "c": ["", "4"]}


def test_long_series_become_means_of_stretches():
    steps, values = binned([(float(i), float(i)) for i in range(10)] + [(10.0, float("nan"))], 5)
    assert steps == values == [0.5, 2.5, 4.5, 6.5, 8.5]


def test_the_page_of_two_runs(tmp_path, capsys):
    first = write_run(tmp_path / "pose" / "a", figures=(curve((1, 2, 3)),), edits={"rotation": measured(0.3, 0.1, 0.1, 0.2)})
    second = write_run(tmp_path / "<b>slow" / "b", figures=(curve((2, 3, 5)),), loss=2.0, learning_rate=0.01)
    output = tmp_path / "out" / "page.html"
    cli.main(["report", str(first), str(second), "--output", str(output)])
    assert "2 runs" in capsys.readouterr().out
    page = output.read_text()
    assert "<b>slow" not in page and "&lt;b&gt;slow" in page
    assert "<td>model.settings.learning_rate</td><td>0.003</td><td>0.01</td>" in page and "weight" not in page
    assert "Losses" in page and "<td>rotation: error left, over that of none</td>" in page
    # Training curves of both metrics that have one, the figure overlaid, and the picture of each run.
    assert page.count("data:image/png") == 1 + 1 + 2
    rows = list(csv.reader((tmp_path / "out" / "page.csv").open()))
    assert rows[0] == ["metric", "pose", "<b>slow"] and ["validate/loss", "1.0", "2.0"] in rows
    assert ["rotation: error left, over that of none", "0.3", ""] in rows


def test_labels_and_title_are_as_given(tmp_path):
    folders = [write_run(tmp_path / "pose" / name) for name in "ab"]
    report(folders, output=tmp_path / "page.html", labels=("one", "two"), title="A & B")
    page = (tmp_path / "page.html").read_text()
    assert "<th>one</th><th>two</th>" in page and "<title>A &amp; B</title>" in page
    for labels in (("one",), ("one", "one")):
        with pytest.raises(InputError, match="different label"):
            report(folders, output=tmp_path / "other.html", labels=labels)


def test_runs_of_other_methods_have_no_claims(tmp_path):
    run = read_run(write_run(tmp_path / "f" / "a", model="lightning_modules.face_reconstruction.DifferentiableFaceReconstruction"))
    assert "What the paper claims" not in compare_runs([run], ["f"], "t")[0].text()


def test_refusals_of_the_command(tmp_path, capsys):
    folder = write_run(tmp_path / "pose" / "a")
    with pytest.raises(SystemExit) as exit_info:
        cli.main(["report", str(tmp_path / "pose"), "--output", str(tmp_path / "page.html")])
    assert exit_info.value.code == 2 and capsys.readouterr().err.count("\n") == 1
    with pytest.raises(InputError, match="html"):
        report([folder], output=tmp_path / "page.pdf")
    report([folder], output=tmp_path / "page.html")
    with pytest.raises(InputError, match="--overwrite"):
        report([folder], output=tmp_path / "page.html")
    report([folder], output=tmp_path / "page.html", overwrite=True)


def test_tables_without_a_common_axis_are_joined(tmp_path):
    def table(value: float) -> Figure:
        return Figure("spread", "Spread", "", ("parameter", "std"), (("yaw", value), ("roll", value / 10)))

    runs = [read_run(write_run(tmp_path / name / "a", figures=(table(value),))) for name, value in (("one", 9.0), ("two", 8.0))]
    page = compare_runs(runs, ["one", "two"], "t")[0].text()
    rows = '<tr><td>yaw</td><td>one</td><td class="number">9</td></tr><tr><td>yaw</td><td>two</td><td class="number">8</td></tr>'
    assert rows in page


def test_curves_are_overlaid_per_column():
    binned_columns = ("bin", "edits", "size_from", "size_to", "size_mean", "loss", "loss_standard_error", "same")
    figures = [
        (str(number), Figure("f", "", "", binned_columns, tuple((i, 5, i, i + 1, i + 0.5, number * i, 0.1, 1.0) for i in (1, 2, 3))))
        for number in (1, 2)
    ]
    assert [caption for _, caption in overlaid_lines(figures)] == ["loss"]
    assert overlaid_lines(figures[:1]) == []
    named = Figure("f", "", "", ("reader", "asked", "median"), (("a", 0.0, 1.0), ("a", 1.0, 2.0), ("b", 0.0, 3.0), ("b", 1.0, 4.0)))
    other = Figure("f", "", "", named.columns, tuple((*row[:2], float(row[2]) + 1) for row in named.rows))
    assert [caption for _, caption in overlaid_lines([("x", named), ("y", other)])] == ["a: median", "b: median"]
    falling = Figure("f", "", "", ("x", "y"), ((1, 2), (0, 3)))
    assert overlaid_lines([("x", falling), ("y", falling)]) == []


def test_the_full_method_against_its_baselines(tmp_path):
    full = write_run(tmp_path / "full" / "a", edits={"rotation": measured(0.3, 0.10, 0.10, 0.20)})
    steering = write_run(tmp_path / "steering" / "a", edits={"rotation": measured(0.6, 0.05, 0.1, 0.2)}, network="steering")
    drifting = write_run(tmp_path / "drift" / "a", edits={"rotation": measured(0.2, 0.05, 0.1, 0.2)}, reconstruction=0.0)
    loose = write_run(tmp_path / "loose" / "a", edits={"rotation": measured(0.3, 0.1, 0.15, 0.19)}, consistency=0)
    verdicts = claims_of(full, steering, drifting, loose)
    assert verdicts["Steering, which"] == [True]
    assert verdicts["Without the"] == [False, True]
    alone = claims_of(full)
    assert alone["Steering, which"] == [None] and alone["Without the"] == [None, None]


def test_quality_cannot_be_told_without_a_judge(tmp_path):
    full = write_run(tmp_path / "full" / "a", edits={"rotation": measured(0.3, None, 0.1, 0.2)})
    drifting = write_run(tmp_path / "drift" / "a", edits={"rotation": measured(0.2, None, 0.1, 0.2)}, reconstruction=0.0)
    assert claims_of(full, drifting)["Without the"] == [None, None]


def test_the_nearest_settings_are_compared(tmp_path):
    names = {"full": {}, "slow": {"learning_rate": 0.1}, "steering": {"network": "steering", "learning_rate": 0.1}}
    runs = [read_run(write_run(tmp_path / name / "a", **settings)) for name, settings in names.items()]
    full, slow, steering = rig_runs(runs, list(names))
    found = nearest(steering, [full, slow])
    assert found is not None and found.label == "slow"
    other = rig_runs([read_run(write_run(tmp_path / "light" / "a", controls=("illumination",)))], ["light"])[0]
    assert nearest(other, [full, slow]) is None


def test_single_against_all_in_one(tmp_path):
    controls = ("rotation", "expression", "illumination")
    several = write_run(tmp_path / "all" / "a", controls=controls, figures=(losses("rotation", 0.5, 0.3),))
    better = write_run(tmp_path / "pose" / "a", figures=(losses("rotation", 0.4, 0.3),))
    worse = write_run(tmp_path / "pose" / "b", figures=(losses("rotation", 0.6, 0.05),))
    verdicts = claims_of(several, better, worse)
    assert verdicts["For large"] == [True, False] and verdicts["For expressions"] == [None]
    assert verdicts["All losses"] == [True, True, False]


def test_layers_of_an_edit(tmp_path):
    coarse = write_run(tmp_path / "pose" / "a", figures=(layers((0.5, 0.4, 0.1)),))
    fine = write_run(tmp_path / "pose" / "b", figures=(layers((0.3, 0.5, 0.2)),))
    assert claims_of(coarse, fine)["Coarse layers"] == [True, False]
    equal = {"coarse": 0.3, "medium": 0.4, "fine": 0.3}
    # Per layer, 0.35 of three coarse layers is more than 0.4 of four medium ones.
    assert layer_claim("", ("coarse",), "", "", {"coarse": 0.35, "medium": 0.4, "fine": 0.25}, equal).holds is True
    nothing = dict.fromkeys(equal, float("nan"))
    assert layer_claim("", ("coarse",), "", "", nothing, equal).holds is None


def test_known_limits(tmp_path):
    asked = (-30.0, 0.0, 30.0)
    ignored = in_plane_claim("a", asked, (-3.0, 1.0, 3.0), (-27.0, 0.0, 27.0))
    assert ignored.holds is True and ignored.values == {"roll per asked": pytest.approx(0.1), "yaw per asked": pytest.approx(0.9)}
    assert in_plane_claim("a", asked, (-25.0, 0.0, 25.0), (-27.0, 0.0, 27.0)).holds is False
    columns = ("expression", "sides", "asked_left", "asked_right", "achieved_left_mean", "achieved_right_mean")
    rows = (("smile", "left", 0.7, 0.0, 0.30, 0.28), ("smile", "both", 0.7, 0.7, 0.5, 0.5))
    figure = Figure("limits_asymmetric_expressions", "", "", columns, rows)
    assert claims_of(write_run(tmp_path / "smile" / "a", controls=("expression",), figures=(figure,)))["Asymmetric expressions"] == [True]


def test_readings_of_different_readers_are_not_compared(tmp_path):
    full = write_run(tmp_path / "full" / "a", edits={"rotation": measured(0.3, 0.10, 0.10, 0.20)})
    other = {**measured(0.6, 0.05, 0.1, 0.2), "reader": "the face reconstruction"}
    steering = write_run(tmp_path / "steering" / "a", edits={"rotation": other}, network="steering")
    assert claims_of(full, steering)["Steering, which"] == [None]


def test_what_else_differs_is_said_with_a_claim(tmp_path):
    edits = {"rotation": measured(0.3, 0.10, 0.10, 0.20)}
    full = write_run(tmp_path / "full" / "a", edits=edits, learning_rate=0.1)
    alike = write_run(tmp_path / "alike" / "a", edits=edits, network="steering", learning_rate=0.1)
    short = write_run(tmp_path / "short" / "a", edits=edits, network="steering", learning_rate=0.1)
    config = yaml.safe_load((short / "config.yaml").read_text())
    (short / "config.yaml").write_text(yaml.safe_dump({**config, "trainer": {"max_steps": 10}}))
    runs = [read_run(folder) for folder in (full, alike, short)]
    claims = [claim for claim in stylerig_claims(rig_runs(runs, ["full", "alike", "short"])) if claim.text.startswith("Steering")]
    assert ["trainer.max_steps" in claim.measure for claim in claims] == [False, True]
    assert not any("settings.network" in claim.measure for claim in claims)


def test_losses_that_are_no_numbers_tell_nothing(tmp_path):
    run = write_run(tmp_path / "pose" / "a", figures=(losses("rotation", float("nan"), 0.3),))
    assert claims_of(run)["All losses"] == [None]


def test_an_empty_table_of_a_figure_is_named(tmp_path):
    folder = write_run(tmp_path / "pose" / "a", figures=(curve((1, 2)),))
    (folder / "figures" / "losses.csv").write_text("")
    with pytest.raises(InputError, match="remove that folder"):
        read_run(folder)


def test_limits_of_a_network_that_does_nothing_tell_nothing():
    asked, numb = (-30.0, 0.0, 30.0), (1.0, 0.0, -1.0)
    assert in_plane_claim("a", asked, (0.0, 0.0, 0.0), numb).holds is None
    assert in_plane_claim("a", asked, (float("nan"), 0.0, 0.0), asked).holds is None
    assert in_plane_claim("a", (0.0, 0.0), (1.0, 1.0), (1.0, 1.0)).holds is None
    # Turned the wrong way is not ignored.
    assert in_plane_claim("a", asked, (25.0, 0.0, -25.0), (-27.0, 0.0, 27.0)).holds is False
    assert asymmetry_claim("a", [(0.7, 0.0, 0.0, 0.0), (0.7, 0.7, 0.0, 0.0)]).holds is None
    claim = in_plane_claim("a", asked, (0.0, 0.0, 0.0), numb)
    page = Report("t")
    add_claims(page, [claim])
    assert "needs a network that turns heads" in page.text() and "degrees achieved per degree asked" in page.text()
