"""The words and rules that webhook, controller and node agent share. Pure: no I/O, no clock, no environment."""
