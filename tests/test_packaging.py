"""The project as a package: what it declares, ships and imports."""

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import models.weights
from tests.conftest import ROOT

ROOMS = ("renderers", "models", "datamodules", "lightning_modules", "evaluation", "studio", "commands")
# Rooms of one height do not know each other.
HEIGHT = {
    "renderers": 0,
    "models": 1,
    "datamodules": 2,
    "lightning_modules": 3,
    "evaluation": 4,
    "studio": 4,
    "commands": 5,
    "cli": 6,
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))] + [ROOT / "cli.py"]


def imported_modules(path: Path) -> set[str]:
    """Top-level names of all modules that a file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_up_only(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for other in imported_modules(path) & HEIGHT.keys() - {room}:
        assert HEIGHT[other] < HEIGHT[room], f"{room} imports {other}"


def test_every_import_is_declared() -> None:
    declared = {Requirement(line).name.lower().replace("_", "-") for line in PROJECT["dependencies"]}
    # Parts of declared packages, named by them as requirements of their own.
    declared |= {"pyyaml", "lightning-fabric"}
    owners = importlib.metadata.packages_distributions()
    optional = {"face_alignment", "pytorch3d", "torch_fidelity"}
    for path in SOURCES:
        for name in imported_modules(path) - set(ROOMS) - {"cli"} - sys.stdlib_module_names - optional:
            distributions = {owner.lower().replace("_", "-") for owner in owners.get(name, [name])}
            assert distributions & declared or name == "lightning_fabric", f"{path.relative_to(ROOT)} imports {name}"


def test_every_bound_has_its_reason() -> None:
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    start = lines.index("dependencies = [") + 1
    block = lines[start : lines.index("]", start)]
    assert len(block) == len(PROJECT["dependencies"])
    for line in block:
        assert re.search(r'",\s+# \S', line), line


def test_installed_packages_keep_the_bounds() -> None:
    for line in PROJECT["dependencies"]:
        requirement = Requirement(line)
        assert importlib.metadata.version(requirement.name) in requirement.specifier, line


def test_console_scripts() -> None:
    scripts = {point.name: point.value for point in importlib.metadata.entry_points(group="console_scripts")}
    assert scripts["lightning"] == scripts["latentrig"] == PROJECT["scripts"]["lightning"] == "cli:main"


def test_version_is_told() -> None:
    output = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert output == f"latentrig {PROJECT['version']}\n"


def test_configs_and_assets_are_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert models.weights.locate("configs/trainer/cpu.yaml").samefile(ROOT / "configs" / "trainer" / "cpu.yaml")
    assert models.weights.asset_path("x").parent == ROOT / "assets"


def test_wheel_holds_every_file_that_the_program_reads() -> None:
    """Asks setuptools what it would put into a wheel, which takes less than building one."""
    code = """
from setuptools.dist import Distribution
distribution = Distribution({"script_name": "setup.py"})
distribution.parse_config_files()
command = distribution.get_command_obj("build_py")
command.ensure_finalized()
print("\\n".join(command.get_outputs(include_bytecode=0)))
"""
    output = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    shipped = {line.removeprefix("build/lib/") for line in output.splitlines()}
    for path in [*SOURCES, *(ROOT / "configs").rglob("*.yaml"), *(ROOT / "assets").rglob("*.*")]:
        assert str(path.relative_to(ROOT)) in shipped
    assert not any(name.startswith(("tests", "runs", "docs")) or "__pycache__" in name for name in shipped)


def test_shipped_weights_are_small() -> None:
    weights = [path for path in (ROOT / "assets").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in weights) < 20e6


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "THIRD_PARTY.md"])
def test_documents_are_there_and_their_links_hold(name: str) -> None:
    text = (ROOT / name).read_text()
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        assert target.startswith(("http://", "https://")) or (ROOT / target).exists(), f"{name} links to {target}"


def test_every_dependency_is_in_the_list_of_licences() -> None:
    text = (ROOT / "THIRD_PARTY.md").read_text()
    for line in PROJECT["dependencies"]:
        assert re.search(rf"\b{re.escape(Requirement(line).name)}\b", text), line


def test_cli_is_short() -> None:
    assert len((ROOT / "cli.py").read_text().splitlines()) < 80


def test_continuous_integration_runs_the_tests() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_every_dependency_is_named_with_its_licence() -> None:
    table = (ROOT / "THIRD_PARTY.md").read_text().partition("## Formats read")[0]
    named = set(re.findall(r"[a-z0-9][a-z0-9-]+", table.lower()))
    for line in PROJECT["dependencies"]:
        assert Requirement(line).name.lower() in named, line
