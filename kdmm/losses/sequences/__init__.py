"""Tokens: language models, captioners and translators."""

__all__: list[str] = []
