"""A hand-written TensorFlow loop without hwprof: prints each step's nanoseconds. Arguments: model batch steps."""

import json
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import keras
import tensorflow as tf

model_name, batch, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
keras.utils.set_random_seed(0)
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
ZOO = {"resnet50": "ResNet50", "mobilenet_v2": "MobileNetV2"}
if model_name == "cifar_cnn":
    layers = keras.layers
    model = keras.Sequential([
        layers.Input((32, 32, 3)), layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten(),
        layers.Dense(64, activation="relu"), layers.Dense(10, activation="softmax"),
    ])  # fmt: skip
else:
    model = getattr(keras.applications, ZOO[model_name])(weights=None, input_shape=(32, 32, 3), classes=10)
optimizer = keras.optimizers.Adam(0.001)
criterion = keras.losses.SparseCategoricalCrossentropy()
images = tf.random.uniform((512, 32, 32, 3), 0, 255, tf.int32)
images = tf.cast(images, tf.uint8)
labels = tf.random.uniform((512,), 0, 10, tf.int64)
data = (
    tf.data.Dataset.from_tensor_slices((images, labels)).repeat().shuffle(512)
    .map(lambda x, y: (tf.cast(x, tf.float32) / 255, y)).batch(batch).prefetch(tf.data.AUTOTUNE)
)  # fmt: skip
loss_sum = tf.Variable(0.0)


@tf.function
def train_step(x: tf.Tensor, y: tf.Tensor) -> None:
    """Forward, backward, update."""
    with tf.GradientTape() as tape:
        loss = criterion(y, model(x, training=True))
    optimizer.apply_gradients(
        zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
    )
    loss_sum.assign_add(loss * tf.cast(tf.shape(y)[0], tf.float32))


durations = []
batches = iter(data)
for _ in range(steps + 2):
    start = time.perf_counter_ns()
    train_step(*next(batches))
    durations.append(time.perf_counter_ns() - start)
print(json.dumps(durations[2:]))
