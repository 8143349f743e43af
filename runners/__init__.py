"""Artifact x backend x scenario -> measured cells in a run's journal.

study/       the design, checked                scheduling/  its cells, shuffled in blocks
run/         a run's folder, and the loop       child/       the process that measures
backends/    one file per runtime               scenarios/   how batches are fed
metering/    one file per energy source         host/        load, temperature, cores
training/    trainings, and searches over them  layers/      operators and parts of a network
doctor/      what this machine can measure      evaluation   accuracy over labelled images
"""
