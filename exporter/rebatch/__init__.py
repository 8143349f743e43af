"""A graph with a fixed batch is rewritten to take any, with proof.

rewrite    a file, from its reading to its proof   proof      the new graph against the original
graph      all nodes, followed in their order      frozen     the node to blame, for errors
branches   If, where no image decides it           sequences  lists of tensors, taken apart
sizes      what is known at both batches           rules      what is done to each operator
rows       constants with a row for each image     placing    where a node puts the batch
questions  parts of a graph, run                   alone      one node, run or inferred
counts     what the data size                      mixing     where images reach each other
weights    weights for a proof, drawn
"""
