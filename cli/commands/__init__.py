"""Run the commands of the plugin, one module each."""
