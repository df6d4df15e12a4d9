"""Machines that are not there: pure numpy, seeded, with faults that grow. Also what the examples train on."""
