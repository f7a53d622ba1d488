"""How samples stand to each other."""

__all__: list[str] = []
