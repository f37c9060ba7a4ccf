"""`python -m keras_entropy` runs the command `keras-entropy`, after Python has imported this package, and so Keras."""

from keras_entropy_cli import main

if __name__ == "__main__":
    main()
