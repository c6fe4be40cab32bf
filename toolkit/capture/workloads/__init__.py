"""The only place that imports a framework, on use: one file a framework, named here."""

from toolkit.spec import CIFAR_CNN

MODULES = {
    "torch": "toolkit.capture.workloads.pytorch",
    "tf": "toolkit.capture.workloads.tensorflow",
    "jax": "toolkit.capture.workloads.jax",
}

# What each framework tells of a process, whatever it runs there; and the name that it is imported by.
PROCESSES = {
    "torch": "toolkit.capture.workloads.torch_process",
    "tf": "toolkit.capture.workloads.tf_process",
    "jax": "toolkit.capture.workloads.jax_process",
}
IMPORTED = {"torch": "torch", "tf": "tensorflow", "jax": "jax"}
# Of Keras's `fit`, on any backend.
KERAS_CALLBACK = "toolkit.capture.workloads.keras_callback"

# Their sides of `toolkit.capture.probe`.
PROBES = {
    "torch": "toolkit.capture.workloads.matched.torch_probe",
    "tf": "toolkit.capture.workloads.matched.keras_probe",
    "jax": "toolkit.capture.workloads.matched.jax_probe",
}

# The small CNN is written out here, for no zoo has it.
KERAS_ZOO = {
    CIFAR_CNN: CIFAR_CNN,
    "resnet50": "ResNet50",
    "resnet152": "ResNet152",
    "vgg16": "VGG16",
    "vgg19": "VGG19",
    "mobilenet_v2": "MobileNetV2",
    "efficientnet_b4": "EfficientNetB4",
}
# What each framework calls the model: torchvision.models, keras.applications.
ZOO = {
    "torch": {
        CIFAR_CNN: CIFAR_CNN,
        "resnet18": "resnet18",
        "resnet50": "resnet50",
        "resnet152": "resnet152",
        "vgg16": "vgg16",
        "vgg19": "vgg19",
        "mobilenet_v2": "mobilenet_v2",
        "efficientnet_b4": "efficientnet_b4",
    },
    "tf": KERAS_ZOO,
    "jax": KERAS_ZOO,
}
ZOO_NAMES = {"torch": "torchvision.models", "tf": "keras.applications", "jax": "keras.applications"}
