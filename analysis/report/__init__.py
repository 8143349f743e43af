"""The pages, tables, charts and figures of a run."""
