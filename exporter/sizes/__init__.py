"""Graphs that compute no sizes while they run: what follows from the batch is written as constants.

linear   numbers that grow with the batch      probe   sizes, and numbers made from them
views    reads by computed indices             rules   what is done to each operator
fold     the whole graph, rewritten
"""
