"""What was published with the DCASE Task 4 baselines of 2022-2024, read as it stands: confs and checkpoints."""
