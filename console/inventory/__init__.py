"""Nodes from lists that people have already: ssh_config, Ansible, CSV, and site files of other consoles."""
