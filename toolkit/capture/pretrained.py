"""Makes pretrained weights ready before a worker starts, which may have no network. The standard library only.

The files are the zoos' own, on ImageNet's thousand classes, each with the checksum that its zoo publishes: torchvision
0.28 (models/*.py, each model's `DEFAULT`; the file's name holds the beginning of its SHA-256), Keras 3.15
(applications/*.py, MD5).
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from toolkit.capture.downloads import cache_folder, fetch
from toolkit.errors import FAILED, HwprofError
from toolkit.spec import CIFAR_CNN, PRETRAINED, RANDOM, RunSpec

FOLDER = "weights"
TORCHVISION = "https://download.pytorch.org/models/"
KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/"
KERAS_EFFICIENTNET = "https://storage.googleapis.com/keras-applications/"
# The size that Keras's VGG with its dense layers is made for; the others take any.
KERAS_VGG_SIZE = 224
IMAGENET_CLASSES = 1000

Say = Callable[[str], None]


class Published(NamedTuple):
    """A file of weights: where it lies, and the checksum, or the beginning of one, that it is known by."""

    address: str
    algorithm: str
    checksum: str

    @property
    def name(self) -> str:
        """Of the file."""
        return self.address.rpartition("/")[2]


class Start(NamedTuple):
    """What training starts from: `weights`, random or pretrained, from `file` in `folder`; `why` it is not as asked."""

    weights: str
    folder: str
    file: Published | None
    why: str | None


class _NotToBeHadError(HwprofError):
    """There is no such file here, and none was made; `auto` does without."""


def _torchvision(name: str) -> Published:
    return Published(TORCHVISION + name, "sha256", name.rpartition("-")[2].removesuffix(".pth"))


def _keras(path: str, checksum: str, base: str = KERAS) -> Published:
    return Published(base + path, "md5", checksum)


OF_TORCHVISION: Mapping[str, Published] = {
    "resnet18": _torchvision("resnet18-f37072fd.pth"),
    "resnet50": _torchvision("resnet50-11ad3fa6.pth"),
    "resnet152": _torchvision("resnet152-f82ba261.pth"),
    "vgg16": _torchvision("vgg16-397923af.pth"),
    "vgg19": _torchvision("vgg19-dcbb9e9d.pth"),
    "mobilenet_v2": _torchvision("mobilenet_v2-7ebf99e0.pth"),
    "efficientnet_b4": _torchvision("efficientnet_b4_rwightman-23ab8bcd.pth"),
}
OF_KERAS: Mapping[str, Published] = {
    "resnet50": _keras("resnet/resnet50_weights_tf_dim_ordering_tf_kernels.h5", "2cb95161c43110f7111970584f804107"),
    "resnet152": _keras("resnet/resnet152_weights_tf_dim_ordering_tf_kernels.h5", "100835be76be38e30d865e96f2aaae62"),
    "vgg16": _keras("vgg16/vgg16_weights_tf_dim_ordering_tf_kernels.h5", "64373286793e3c8b2b4e3219cbf3544b"),
    "vgg19": _keras("vgg19/vgg19_weights_tf_dim_ordering_tf_kernels.h5", "cbe5617147190e668d6c5d5026f83318"),
    "efficientnet_b4": _keras("efficientnetb4.h5", "18c95ad55216b8f92d7e70b3a046e2fc", KERAS_EFFICIENTNET),
}
# Of VGG without its dense layers, for images of another size than those are for.
OF_KERAS_WITHOUT_TOP: Mapping[str, Published] = {
    "vgg16": _keras("vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", "6d6bbae143d832006294945121d1f1fc"),
    "vgg19": _keras("vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5", "253f8cb515780f3b799900260a226db6"),
}


def published(spec: RunSpec) -> Published:
    """The file that holds the spec's pretrained weights; HwprofError where its zoo publishes none to be checked."""
    if spec.matched or spec.framework == "torch":
        zoo, files = "torchvision", OF_TORCHVISION
    else:
        zoo, files = "keras.applications", {**OF_KERAS, **(OF_KERAS_WITHOUT_TOP if without_top(spec) else {})}
    found = files.get(spec.model)
    if found is None:
        why = "no zoo has it" if spec.model == CIFAR_CNN else f"{zoo} publishes no checksum of them"
        raise _NotToBeHadError(
            f"There are no pretrained weights of {spec.model} to be had: {why}.",
            remedy="Use weights=random, mode=matched, or another model.",
        )
    return found


def without_top(spec: RunSpec) -> bool:
    """Whether as-shipped Keras weights fit all but the dense layers at the end, which the image's size decides."""
    return spec.model in OF_KERAS_WITHOUT_TOP and spec.image_size != KERAS_VGG_SIZE


def prepare(spec: RunSpec, *, say: Say, files: Callable[[RunSpec], Published] = published) -> Start:
    """What the spec starts from, its file made ready: where `auto` cannot have one, a random start and why.

    Raises HwprofError where weights that were asked for cannot be had, and for a file that is not the published one.
    """
    if spec.weights == RANDOM:
        return Start(RANDOM, "", None, None)
    try:
        file = files(spec)
        path = _made_ready(file, spec.weights_dir, say)
    except _NotToBeHadError as error:
        if spec.weights == PRETRAINED:
            raise
        why = f"A random start stands in for pretrained weights: {error.problem}"
        say(why)
        return Start(RANDOM, "", None, why)
    return Start(PRETRAINED, str(path.parent.resolve()), file, None)


def _made_ready(file: Published, weights_dir: str, say: Say) -> Path:
    path = (Path(weights_dir).expanduser() if weights_dir else cache_folder() / FOLDER) / file.name
    if path.exists():
        _check_sum(path, file)
    elif weights_dir:
        raise _NotToBeHadError(
            f"{weights_dir} does not hold {file.name}.", remedy="Put it there, or leave weights_dir out to download it."
        )
    else:
        _download(path, file, say)
    return path


def _download(path: Path, file: Published, say: Say) -> None:
    say(f"Downloading {file.name} (once) to {path.parent}")
    try:
        fetch(file.address, path, lambda partial: _check_sum(partial, file))
    except (OSError, HwprofError) as error:
        problem = error.problem.rstrip(".") if isinstance(error, HwprofError) else str(error)
        raise _NotToBeHadError(
            f"{file.name} could not be downloaded from {file.address}: {problem}.",
            remedy="Put it into a folder and give that as weights_dir=, or use weights=random.",
            exit_code=FAILED,
        ) from error


def _check_sum(path: Path, file: Published) -> None:
    with path.open("rb") as content:
        found = hashlib.file_digest(content, file.algorithm).hexdigest()
    if not found.startswith(file.checksum):
        raise HwprofError(
            f"{path} is not the published {file.name}: {file.algorithm} {found[:12]}…, not {file.checksum[:12]}….",
            remedy="It may be truncated: delete it and download it again.",
        )
