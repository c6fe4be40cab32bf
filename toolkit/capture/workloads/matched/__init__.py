"""Models that are the same in every framework: torchvision's architectures, one set of initial weights, one optimizer.

torchvision's names and shapes of parameters and buffers are the common language here; a name such as
`layer1.0.conv1.weight` means the same tensor in every framework, and NumPy arrays under such names are a model's state.
"""
