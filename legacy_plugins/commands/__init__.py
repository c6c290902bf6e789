"""What an operator asks of the plugins at a command line, for any front end that prints it."""
