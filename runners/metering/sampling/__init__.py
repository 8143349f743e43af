"""Reading meters beside the measurement: when, how often, at what cost."""
