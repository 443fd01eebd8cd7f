"""Write the agent's block of /etc/hosts."""
