"""What a command says to a model of the other kind."""

from collections.abc import Mapping

from nelbo.errors import ConfigurationError


def refuse_chain_options(run: str, options: Mapping[str, object]) -> None:
    """Check that a variational autoencoder is asked for nothing that only a diffusion chain has.

    Raises:
        ConfigurationError: some of the options, by flag, were given (are not None).
    """
    given = [flag for flag, value in options.items() if value is not None]
    if given:
        raise ConfigurationError(
            f"{run} is a variational autoencoder: it has no chain of steps, no classes, and runs in float32; leave out "
            f"{', '.join(given)}."
        )
