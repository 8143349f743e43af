"""A race: repetitions go to the cells that decide a question, until it is answered."""
