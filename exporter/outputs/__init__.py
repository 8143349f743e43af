"""What the outputs of a graph are: which axis is the batch, what is a position, what the data size.

observed   from runs at several batch sizes      positions  from the nodes that make an output
rounded    by float16 or bfloat16 on their way
"""
