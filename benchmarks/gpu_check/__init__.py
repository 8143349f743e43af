"""`make gpu-check`: is all well on this machine's GPU? One command, one folder, one page.

A verdict for each line: ok, failed, or not run with the reason. What cannot run stops nothing else;
each step has a time limit of its own, and all of them one. It works with what is installed.

__main__  the command           steps      the order, the limits, what a fault in a step costs
lines     a line's verdict      children   processes of its own, ended in time
page      Markdown and JSON     machine, artifacts, models, meters, gpu_tests   the steps

It lies here and not in the package, as it needs a checkout: it runs tests/gpu. Of the standard
library alone until a step begins, so that a missing package is a line and not a traceback.
"""
