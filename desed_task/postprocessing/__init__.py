"""Scores -> Scores and Events: the steps between a model's scores and its detections (numpy only, served as it is)."""
