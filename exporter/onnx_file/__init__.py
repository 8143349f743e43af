"""Reading an ``.onnx`` file that somebody else made.

reading        the graph, read and saved        inspection    what network it holds
external_data  weights in other files, safely
"""
