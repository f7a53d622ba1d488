"""One run: its folder, what is built from its settings, what is written when it is done."""
