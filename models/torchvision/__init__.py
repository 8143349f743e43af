"""torchvision's networks: the table of them, and modules that take a batch of images of one size.

classifiers  the table of the classifiers       others     the table of the other families
construct    a spec -> torchvision's module     flow       RAFT: two images -> the last flow
detection/   detectors without a loop over the images
"""
