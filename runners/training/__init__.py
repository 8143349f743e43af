"""Training under the meters: a fit in a fresh child, epoch by epoch; a search over many.

design/  what is trained, checked            data/   what it is trained on
parent/  the loop, a search's strategies     child/  epochs and checkpoints
"""
