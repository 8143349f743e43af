"""Training under the meters: a fit in a fresh child, epoch by epoch; a search over many.

study        the design, checked               networks    what is trained
datasets     what it is trained on             fitting     the child's side: epochs, checkpoints
session      the parent's side of a child      execution   the loop over all trainings of a run
search       strategies that propose trials
"""
