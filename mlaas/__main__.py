"""`python -m mlaas`."""

from mlaas.cli import main

main()
