"""A loop of your own in TensorFlow: a small network learns which of two rings a point lies on."""

import keras
import tensorflow as tf

from toolkit import profile

BATCH = 64


def points(count: int) -> tf.data.Dataset:
    """Batches of noisy points on rings of radius 1 and 2: [n, 2] and which ring, [n]."""
    ring = tf.random.uniform([count], maxval=2, dtype=tf.int32)
    angle = tf.random.uniform([count], maxval=6.2832)
    radius = 1 + tf.cast(ring, tf.float32) + 0.2 * tf.random.normal([count])
    place = tf.stack([radius * tf.cos(angle), radius * tf.sin(angle)], axis=1)
    return tf.data.Dataset.from_tensor_slices((place, ring)).batch(BATCH)


def main() -> None:
    """Three epochs of training, a validation after each."""
    keras.utils.set_random_seed(0)
    hidden = [keras.layers.Dense(256, activation="relu") for _ in range(2)]
    model = keras.Sequential([keras.Input((2,)), *hidden, keras.layers.Dense(2)])
    optimizer = keras.optimizers.Adam(0.003)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    accuracy = keras.metrics.SparseCategoricalAccuracy()
    batches, held_out = points(2048).shuffle(32), points(512)

    @tf.function
    def train(inputs: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = loss_of(labels, model(inputs, training=True))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    with profile("rings", framework="tf", batch=BATCH, settings={"learning_rate": 0.003}) as run:
        for _ in run.epochs(3):
            for inputs, labels in run.steps(batches):
                loss = train(inputs, labels)
            with run.phase("validation"):
                accuracy.reset_state()
                for inputs, labels in held_out:
                    accuracy.update_state(labels, model(inputs, training=False))
            run.log(loss=loss, accuracy=accuracy.result())


if __name__ == "__main__":
    main()
