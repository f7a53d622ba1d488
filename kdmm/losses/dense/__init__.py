"""Maps: segmentation and detection."""

__all__: list[str] = []
