"""The parent's side of trainings: the loop, the search, the ledger."""
