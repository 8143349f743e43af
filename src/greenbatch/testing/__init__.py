"""Checks that any backend must pass, for authors of one.

    pip install 'greenbatch[testing]'
    pytest --pyargs greenbatch.testing --backend mine-cpu

The suite exports a small network (``shufflenet_v2_x0_5``, weights drawn at random: about 20 s, no
download), unless ``--artifacts`` names a folder that has it, and holds the backend to what
`greenbatch.runners.backends.Backend` says. It runs on the machine that the backend is for.
"""
