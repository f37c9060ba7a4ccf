"""`python -m keras_entropy`: the command by another way."""

from keras_entropy_cli import main

if __name__ == "__main__":
    main()
