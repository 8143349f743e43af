"""What a dataset says: cells, comparisons, answers, verdicts and caveats."""
