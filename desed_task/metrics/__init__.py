"""Scores and events against the ground truth: figures, and the report that holds them all."""
