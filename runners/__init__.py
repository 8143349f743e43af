"""Artifact x backend x scenario -> measured cells in a run's journal.

study        the design, checked                order       its cells, shuffled in blocks
backends/    one file per runtime               scenarios/  how batches are fed
metering/    one file per energy source         host        load and temperature
child        measures one repetition            repetition  the parent's side of a child
directory    a run's files, locked              execution   the loop over all of them
"""
