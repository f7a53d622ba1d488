"""What the detectors are made of: a pyramid of maps, the families of torchvision's detectors, suppression."""
