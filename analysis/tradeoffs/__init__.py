"""Where more of one thing costs another: fronts, crossovers, turning points."""
