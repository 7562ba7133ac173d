"""Which version of the project this is."""

from importlib.metadata import PackageNotFoundError, version


def project_version() -> str:
    """Version of the installed project, or ``uninstalled`` for a checkout that is run in place."""
    try:
        return version("latentrig")
    except PackageNotFoundError:
        return "uninstalled"
