"""A pump skid behind a PLC."""
