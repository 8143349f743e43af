"""torchvision's detectors for a batch of images of one size, without a loop over the images.

torchvision's own interface takes a list of images and handles each by itself, so the number of
images would be fixed in an exported graph. Here all images share each step. The rows of the
outputs are the detections of all images; the output ``image`` states the image of each.

resized     the transform of the images            suppression  which boxes stay, image by image
one_stage   SSD, RetinaNet, FCOS                   two_stage    the R-CNN networks
"""
