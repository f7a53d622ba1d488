"""Class scores and labels."""

__all__: list[str] = []
