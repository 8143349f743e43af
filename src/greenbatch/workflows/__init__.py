"""Everything from the question to the report, once for each kind of run."""
