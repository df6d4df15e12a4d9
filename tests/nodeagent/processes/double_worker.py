"""A worker without a model: answers every connection to its model's socket with its name and revision, one line."""

import argparse
import json
import signal
import socket
import sys
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--spec", type=Path)
document = json.loads(parser.parse_args().spec.read_bytes())


def stop(*_: object) -> None:
    Path(document["folder"], f"stopped-{document['worker']}").touch()
    sys.exit(0)


signal.signal(signal.SIGTERM, stop)
print(f"worker {document['worker']} speaks", file=sys.stderr, flush=True)
if document.get("fails"):
    sys.exit(3)
with socket.socket(fileno=document["fds"]["model"]) as listening:
    listening.setblocking(True)
    while True:
        connection, _ = listening.accept()
        connection.sendall(f"{document['worker']} r{document['revision']}\n".encode())
        connection.close()
