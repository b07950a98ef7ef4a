"""A server that takes each result once, by its id, as receivers of webhooks should.

usage: webhook_server.py PORT LOG [--dies-after N] [--secret TEXT] [--tls CERTIFICATE KEY]

Every request that it has not seen yet becomes a line of LOG, also over a restart. With --dies-after
it ends when it has written the N-th line, before it answers. With --secret it answers 401 where
the package standardwebhooks finds the signature wrong.
"""

import argparse
import base64
import http.server
import json
import os
import ssl

parser = argparse.ArgumentParser()
parser.add_argument("port", type=int)
parser.add_argument("log")
parser.add_argument("--dies-after", type=int)
parser.add_argument("--secret")
parser.add_argument("--tls", nargs=2)
arguments = parser.parse_args()

seen = []
if os.path.exists(arguments.log):
    with open(arguments.log, encoding="utf-8") as lines:
        seen = [json.loads(line)["webhook-id"] for line in lines]
log = open(arguments.log, "a", encoding="utf-8")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.answer(self.take(body))

    def take(self, body):
        if arguments.secret:
            from standardwebhooks import Webhook, WebhookVerificationError

            key = base64.b64encode(arguments.secret.encode()).decode()
            try:
                Webhook(key).verify(body, dict(self.headers.items()))
            except WebhookVerificationError:
                return 401
        name = self.headers["webhook-id"]
        if name not in seen:
            seen.append(name)
            log.write(json.dumps({"webhook-id": name, "body": json.loads(body)}) + "\n")
            log.flush()
            if len(seen) == arguments.dies_after:
                os._exit(1)
        return 200

    def answer(self, status):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler)
if arguments.tls:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*arguments.tls)
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
