"""Requests that arrive and are served in batches, as one queue before one server.

arrivals    when requests arrive       policies        when a batch starts
recordings  arrivals from a file       recorded_cells  its rows, whatever its format
served      what became of them        simulation      the same without a machine
overload    whether the queue only grows
"""
