# Written by `make lock` from the locks, for those who build for a registry or all at once; `make images` needs no bake.
# REVISION and SOURCES, which complete names and labels, are printed by `python -m containers.derived variables`.

variable "REVISION" {
  default = null
}

variable "SOURCES" {
  default = "unnamed"
}

group "default" {
  targets = ["torch-cpu", "torch-cuda", "tf-cpu", "tf-cuda", "jax-cpu", "jax-cuda"]
}

target "torch-cpu" {
  dockerfile = "containers/Dockerfile"
  args = { FRAMEWORK = "torch", VARIANT = "cpu" }
  tags = ["hwprof-torch-cpu:68eb6c631e84-${SOURCES}"]
  labels = {
    "hwprof.framework" = "torch"
    "hwprof.framework_version" = "2.13.0+cpu"
    "hwprof.lock_sha256" = "68eb6c631e8459c63b018998a59eba589d00027d9339fc4059a57b8fe715a5fb"
    "hwprof.python" = "3.11.14"
    "hwprof.sources" = SOURCES
    "hwprof.variant" = "cpu"
    "org.opencontainers.image.base.digest" = "sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d"
    "org.opencontainers.image.base.name" = "python:3.11.14-slim-bookworm"
    "org.opencontainers.image.licenses" = "Apache-2.0"
    "org.opencontainers.image.revision" = REVISION
    "org.opencontainers.image.title" = "hwprof-torch-cpu"
    "org.opencontainers.image.version" = "0.1.0"
  }
}

target "torch-cuda" {
  dockerfile = "containers/Dockerfile"
  args = { FRAMEWORK = "torch", VARIANT = "cuda" }
  tags = ["hwprof-torch-cuda:c2473976b452-${SOURCES}"]
  labels = {
    "hwprof.cuda" = "13.0"
    "hwprof.cudnn" = "9.20.0.48"
    "hwprof.cupti" = "13.0.85"
    "hwprof.framework" = "torch"
    "hwprof.framework_version" = "2.13.0"
    "hwprof.lock_sha256" = "c2473976b4522315492b5996926f284857384fda809bfc48b4ecbc0de1a57a10"
    "hwprof.nccl" = "2.29.7"
    "hwprof.python" = "3.11.14"
    "hwprof.sources" = SOURCES
    "hwprof.variant" = "cuda"
    "org.opencontainers.image.base.digest" = "sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d"
    "org.opencontainers.image.base.name" = "python:3.11.14-slim-bookworm"
    "org.opencontainers.image.licenses" = "Apache-2.0"
    "org.opencontainers.image.revision" = REVISION
    "org.opencontainers.image.title" = "hwprof-torch-cuda"
    "org.opencontainers.image.version" = "0.1.0"
  }
}

target "tf-cpu" {
  dockerfile = "containers/Dockerfile"
  args = { FRAMEWORK = "tf", VARIANT = "cpu" }
  tags = ["hwprof-tf-cpu:bf4f9a634118-${SOURCES}"]
  labels = {
    "hwprof.framework" = "tf"
    "hwprof.framework_version" = "2.21.0"
    "hwprof.lock_sha256" = "bf4f9a634118efb919b659c7dba8e8c87077a96183ed9391406b2a908372a1cf"
    "hwprof.python" = "3.11.14"
    "hwprof.sources" = SOURCES
    "hwprof.variant" = "cpu"
    "org.opencontainers.image.base.digest" = "sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d"
    "org.opencontainers.image.base.name" = "python:3.11.14-slim-bookworm"
    "org.opencontainers.image.licenses" = "Apache-2.0"
    "org.opencontainers.image.revision" = REVISION
    "org.opencontainers.image.title" = "hwprof-tf-cpu"
    "org.opencontainers.image.version" = "0.1.0"
  }
}

target "tf-cuda" {
  dockerfile = "containers/Dockerfile"
  args = { FRAMEWORK = "tf", VARIANT = "cuda" }
  tags = ["hwprof-tf-cuda:790d6ab84e94-${SOURCES}"]
  labels = {
    "hwprof.cuda" = "12.9"
    "hwprof.cudnn" = "9.28.0.42"
    "hwprof.cupti" = "12.9.79"
    "hwprof.framework" = "tf"
    "hwprof.framework_version" = "2.21.0"
    "hwprof.lock_sha256" = "790d6ab84e944823a96258ae41ea55dbcd7f760502eeeccb567f781824cf3993"
    "hwprof.nccl" = "2.32.3"
    "hwprof.python" = "3.11.14"
    "hwprof.sources" = SOURCES
    "hwprof.variant" = "cuda"
    "org.opencontainers.image.base.digest" = "sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d"
    "org.opencontainers.image.base.name" = "python:3.11.14-slim-bookworm"
    "org.opencontainers.image.licenses" = "Apache-2.0"
    "org.opencontainers.image.revision" = REVISION
    "org.opencontainers.image.title" = "hwprof-tf-cuda"
    "org.opencontainers.image.version" = "0.1.0"
  }
}

target "jax-cpu" {
  dockerfile = "containers/Dockerfile"
  args = { FRAMEWORK = "jax", VARIANT = "cpu" }
  tags = ["hwprof-jax-cpu:f0497be1892b-${SOURCES}"]
  labels = {
    "hwprof.framework" = "jax"
    "hwprof.framework_version" = "0.10.2"
    "hwprof.lock_sha256" = "f0497be1892b90f4b9492e93b02b5aa3dda1290588fe13a35ba6e01e0fa44719"
    "hwprof.python" = "3.11.14"
    "hwprof.sources" = SOURCES
    "hwprof.variant" = "cpu"
    "org.opencontainers.image.base.digest" = "sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d"
    "org.opencontainers.image.base.name" = "python:3.11.14-slim-bookworm"
    "org.opencontainers.image.licenses" = "Apache-2.0"
    "org.opencontainers.image.revision" = REVISION
    "org.opencontainers.image.title" = "hwprof-jax-cpu"
    "org.opencontainers.image.version" = "0.1.0"
  }
}

target "jax-cuda" {
  dockerfile = "containers/Dockerfile"
  args = { FRAMEWORK = "jax", VARIANT = "cuda" }
  tags = ["hwprof-jax-cuda:f7116c8ad6d1-${SOURCES}"]
  labels = {
    "hwprof.cuda" = "13.0"
    "hwprof.cudnn" = "9.20.0.48"
    "hwprof.cupti" = "13.0.85"
    "hwprof.framework" = "jax"
    "hwprof.framework_version" = "0.10.2"
    "hwprof.lock_sha256" = "f7116c8ad6d1d4e94729ff73e697d363ea5945410cb989ffa77d47e79a0b2bf8"
    "hwprof.nccl" = "2.29.7"
    "hwprof.python" = "3.11.14"
    "hwprof.sources" = SOURCES
    "hwprof.variant" = "cuda"
    "org.opencontainers.image.base.digest" = "sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d"
    "org.opencontainers.image.base.name" = "python:3.11.14-slim-bookworm"
    "org.opencontainers.image.licenses" = "Apache-2.0"
    "org.opencontainers.image.revision" = REVISION
    "org.opencontainers.image.title" = "hwprof-jax-cuda"
    "org.opencontainers.image.version" = "0.1.0"
  }
}
