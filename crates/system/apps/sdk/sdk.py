"""Sends four events through an ingress with the official Python SDK and takes them back.

Arguments: the ingress' address to connect to, its URL, the port to listen on. Prints one line per
event that came back as it was sent; ends when all four are there.
"""

import http.client
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent, from_http

address, url, port = sys.argv[1], urlsplit(sys.argv[2]), int(sys.argv[3])
DATA = {"text": "Grüße, \"world\" 100%", "list": [1, None, 2.5]}
received = {}
arrived = threading.Condition()


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        event = from_http(dict(self.headers), body)
        with arrived:
            received[event["id"]] = event
            arrived.notify()
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", port), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()

sent = {}
for version in ("1.0", "0.3"):
    for mode, encode in (("binary", to_binary), ("structured", to_structured)):
        event = CloudEvent(
            {
                "specversion": version,
                "id": f"python-{version}-{mode}",
                "type": "sdk.python",
                "source": "/sdk/python",
                "subject": "a subject",
                "time": "2020-01-11T14:56:07.123456+00:00",
                "datacontenttype": "application/json",
                "lang": "python",
            },
            DATA,
        )
        headers, body = encode(event)
        connection = http.client.HTTPConnection(address, timeout=20)
        connection.request("POST", url.path or "/", body, {**headers, "Host": url.netloc})
        status = connection.getresponse().status
        assert status == 202, f"{event['id']}: {status}"
        sent[event["id"]] = event

end = time.monotonic() + 30
with arrived:
    while len(received) < len(sent):
        assert arrived.wait(end - time.monotonic()), f"only {sorted(received)} came"
for name, event in sorted(sent.items()):
    back = received[name]
    assert back.data == DATA, f"{name}: {back.data}"
    for attribute in ("specversion", "type", "source", "subject", "time", "datacontenttype", "lang"):
        assert back[attribute] == event[attribute], f"{name}: {attribute} is {back[attribute]!r}"
    print(name, "came back")
