"""Checks that any backend, or meter, must pass, for authors of one.

    pip install 'greenbatch[testing]'
    pytest --pyargs greenbatch.testing --backend mine-cpu
    pytest --pyargs greenbatch.testing --meter mine

For a backend the suite exports a small network (``shufflenet_v2_x0_5``, weights drawn at random:
about 20 s, no download), unless ``--artifacts`` names a folder that has it, and holds the backend
to what `greenbatch.runners.backends.Backend` says. It runs on the machine that it is for.

A meter is opened, read for a few of its ticks, recorded, closed and opened again, on a machine that
has its hardware. `greenbatch.testing.meter_checks` lists what is checked, each with its reason.
"""
