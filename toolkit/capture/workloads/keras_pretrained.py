"""Weights of keras.applications into a model of theirs, by Keras's own reader of its files."""

from pathlib import Path

import keras

from toolkit.capture.pretrained import IMAGENET_CLASSES, KERAS_VGG_SIZE, without_top
from toolkit.capture.workloads import ZOO
from toolkit.capture.workloads.matched import start
from toolkit.spec import RunSpec


def load(made: keras.Model, spec: RunSpec) -> None:
    """Gives `made` the weights of the spec's file, but for the layers at the end that have none there.

    Those are the last one where the spec has other classes than ImageNet, and VGG's dense ones where its images have
    another size. Raises HwprofError for a file that is damaged, or another model's.
    """
    path = start.file(spec)
    published = _published(path, spec)
    layers, theirs = ([layer for layer in model.layers if layer.weights] for model in (made, published))
    # In their order, as Keras reads them: some names count how many of a kind there were before in the process.
    for layer, other in zip(layers if spec.classes == IMAGENET_CLASSES else layers[:-1], theirs, strict=False):
        layer.set_weights(other.get_weights())


def _published(path: Path, spec: RunSpec) -> keras.Model:
    """The model that the file is of."""
    top = not without_top(spec)
    make = getattr(keras.applications, ZOO[spec.framework][spec.model])
    shape = (KERAS_VGG_SIZE, KERAS_VGG_SIZE, 3) if top else (spec.image_size, spec.image_size, 3)
    classes = {"classes": IMAGENET_CLASSES} if top else {}
    found: keras.Model = make(weights=None, include_top=top, input_shape=shape, **classes)
    try:
        found.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        raise start.unfit(path, " ".join(str(error).split())) from error
    return found
