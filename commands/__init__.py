"""The verbs of the command line: one file and one typed function each, named in ``cli.py``."""

from importlib.metadata import PackageNotFoundError, version


def project_version() -> str:
    """Version of the installed project, or ``uninstalled`` for a checkout that is run in place."""
    try:
        return version("latentrig")
    except PackageNotFoundError:
        return "uninstalled"
