"""The command line, called in the process of the test."""

from typer.testing import CliRunner, Result

from benchbench.cli import app


def call(*arguments: object, **environment: str) -> Result:
    """Run a command; it may exit with any code, but must not raise."""
    result = CliRunner(env=environment).invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result
