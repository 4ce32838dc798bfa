// Sends four events through an ingress with the official JavaScript SDK and takes them back.
//
// Arguments: the ingress' address to connect to, its URL, the port to listen on. Prints one line
// per event that came back as it was sent; ends when all four are there.

const assert = require("node:assert");
const http = require("node:http");
const { CloudEvent, HTTP } = require("cloudevents");

const [address, target, port] = process.argv.slice(2);
const url = new URL(target);
const DATA = { text: "Grüße, \"world\" 100%", list: [1, null, 2.5] };
const sent = new Map();
const received = new Map();

const server = http.createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const body = Buffer.concat(chunks).toString("utf8");
    const event = HTTP.toEvent({ headers: request.headers, body });
    response.writeHead(202).end();
    received.set(event.id, event);
    if (received.size === 4) {
      finish();
    }
  });
});

function finish() {
  for (const name of [...sent.keys()].sort()) {
    const event = sent.get(name);
    const back = received.get(name);
    assert.deepStrictEqual(back.data, DATA, name);
    const attributes = ["specversion", "type", "source", "subject", "datacontenttype", "lang"];
    for (const attribute of attributes) {
      assert.strictEqual(back[attribute], event[attribute], `${name}: ${attribute}`);
    }
    assert.strictEqual(Date.parse(back.time), Date.parse(event.time), `${name}: time`);
    console.log(name, "came back");
  }
  process.exit(0);
}

function post(event, encode) {
  const message = encode(event);
  return new Promise((resolve, reject) => {
    const request = http.request({
      host: address.split(":")[0],
      port: address.split(":")[1] || 80,
      method: "POST",
      path: url.pathname,
      headers: { ...message.headers, Host: url.host },
    });
    request.on("response", (response) => {
      response.resume();
      if (response.statusCode === 202) {
        resolve();
      } else {
        reject(new Error(`${event.id}: ${response.statusCode}`));
      }
    });
    request.on("error", reject);
    request.end(message.body);
  });
}

server.listen(Number(port), "127.0.0.1", async () => {
  for (const specversion of ["1.0", "0.3"]) {
    for (const mode of ["binary", "structured"]) {
      const event = new CloudEvent({
        specversion,
        id: `javascript-${specversion}-${mode}`,
        type: "sdk.javascript",
        source: "/sdk/javascript",
        subject: "a subject",
        time: "2020-01-11T14:56:07.123Z",
        datacontenttype: "application/json",
        lang: "javascript",
        data: DATA,
      });
      sent.set(event.id, event);
      await post(event, HTTP[mode]);
    }
  }
  setTimeout(() => {
    console.error("only", [...received.keys()].sort(), "came");
    process.exit(1);
  }, 30_000);
});
