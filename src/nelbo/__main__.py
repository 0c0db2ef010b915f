"""Run the command line as `python -m nelbo`, the form that `accelerate launch` and `torchrun` need."""

from nelbo.cli import main

if __name__ == "__main__":
    main()
