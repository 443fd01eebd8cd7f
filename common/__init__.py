"""Hold the model and the rules that webhook, controller and node agent share. Pure: no I/O, no clock."""
