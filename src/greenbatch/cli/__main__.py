"""``python -m greenbatch.cli`` is ``gb``."""

from greenbatch.cli import main

main()
