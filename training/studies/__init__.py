"""Questions about data and recipes: leaks, cross-validation, sweeps, reviews."""
