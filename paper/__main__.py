"""Where ``python -m paper`` begins: a signal ends it with one line, also while all that it needs is being imported."""

import sys

from gcesbi.cli.start import until_stopped


def _command() -> None:
    from paper.command import main

    sys.exit(main())


if __name__ == "__main__":
    until_stopped("python -m paper", _command)
