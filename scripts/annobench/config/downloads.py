"""Names of downloads in the parameters of a method."""

REFERENCE = "download:"  # `download:model` as a parameter stands for the path of that file


def referenced(value: object) -> str | None:
    """The download that the value of a parameter names, if any."""
    return value.removeprefix(REFERENCE) if isinstance(value, str) and value.startswith(REFERENCE) else None
