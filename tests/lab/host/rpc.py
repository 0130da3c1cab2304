#!/usr/bin/python3
"""A plain oslo.messaging server and client, with the options of this host's cinder.conf.

    rpc.py serve             answers `wait(seconds)` after that many seconds
    rpc.py call HOST         calls the server of HOST: one JSON line on stdout for each line on stdin

The client says {"ready": true} once a first call has made its reply queue; after that a line `SECONDS` on its
standard input is a call. Its log goes to standard error. Both end with their standard input.
"""

import json
import logging
import os
import socket
import sys
import time

import oslo_messaging
from oslo_config import cfg

TOPIC = "lab"


class Endpoint:
    target = oslo_messaging.Target(version="1.0")

    def wait(self, _context, seconds):
        time.sleep(seconds)
        return seconds


def transport():
    # oslo.messaging's metrics know only the global one.
    conf = cfg.CONF
    conf(["--config-file", "/etc/cinder/cinder.conf"], project="cinder", prog="lab-rpc")
    return oslo_messaging.get_rpc_transport(conf)


def serve():
    target = oslo_messaging.Target(topic=TOPIC, server=socket.gethostname())
    server = oslo_messaging.get_rpc_server(transport(), target, [Endpoint()], executor="threading")
    server.start()
    print(json.dumps({"ready": True, "pid": os.getpid()}), flush=True)
    sys.stdin.read()
    server.stop()


def call(host):
    target = oslo_messaging.Target(topic=TOPIC, server=host, version="1.0")
    client = oslo_messaging.get_rpc_client(transport(), target)
    client.call({}, "wait", seconds=0)
    print(json.dumps({"ready": True, "pid": os.getpid()}), flush=True)
    for line in sys.stdin:
        start = time.monotonic()
        try:
            client.call({}, "wait", seconds=float(line))
            outcome = "ok"
        except oslo_messaging.MessagingTimeout:
            outcome = "timeout"
        print(json.dumps({"outcome": outcome, "seconds": time.monotonic() - start}), flush=True)


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if sys.argv[1:2] == ["serve"]:
        serve()
    elif sys.argv[1:2] == ["call"] and len(sys.argv) == 3:
        call(sys.argv[2])
    else:
        sys.exit(__doc__)
