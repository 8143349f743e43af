"""Has a Dask worker start simulated measurements: ``dask worker --preload`` this module."""

from greenbatch.runners.fleet import session

session.MEASURING = "tests.fakes.fleet_measuring"
