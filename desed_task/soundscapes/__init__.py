"""Soundscapes: scenes with known events, mixed from a soundbank (recorded or procedural)."""
