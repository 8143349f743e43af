"""Reading an ``.onnx`` file that somebody else made.

reading        the graph, read and saved        inspection  what network it holds
external_data  weights in other files, safely   inputs      which input is the image
repair         what may be put in order         scopes      names across graphs in graphs
types          of the tensors of a graph
"""
