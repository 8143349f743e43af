"""The pages, tables, charts and figures of a training run."""
