"""Turns TrainingJobs into children and tells how they stand. `reconciler.py` is where to begin reading."""
