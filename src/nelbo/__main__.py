"""`python -m nelbo`, which is how `accelerate launch` and `torchrun` start several processes."""

from nelbo.cli import main

if __name__ == "__main__":
    main()
