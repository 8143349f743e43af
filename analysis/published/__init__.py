"""What others published: joules per image, and the peak performance of devices."""
