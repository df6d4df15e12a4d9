"""A whole plant on this machine: real agents behind real SSH, PLCs that speak Modbus. Nothing outside one folder."""
