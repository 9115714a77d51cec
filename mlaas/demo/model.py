"""A small network, as a user would write it."""

import keras


def model(idim: int) -> keras.Model:
    network = keras.Sequential(
        [
            keras.layers.Input((idim,)),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    network.compile(optimizer=keras.optimizers.Adam(learning_rate=2e-3), loss="binary_crossentropy")
    return network
