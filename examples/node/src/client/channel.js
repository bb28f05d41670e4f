// Opens clients: TLS, or plain text on this machine.

import { readFileSync } from 'node:fs';
import { isIPv4 } from 'node:net';

import grpc from '@grpc/grpc-js';
import protobuf from 'protobufjs';

const OPTIONS = {
  // Notices a server that is gone without a word, which a watch would wait for forever.
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
  // gRPC's own bound is two minutes, long after a restarted server is back.
  'grpc.max_reconnect_backoff_ms': 5_000,
};

// Opens a client of a service at `https://HOST:PORT`, or at `http://HOST:PORT` on this machine. The
// file `ca` has the authorities that vouch for the server, in PEM; without it, Node's own count.
export function open(Client, server, ca, options = {}) {
  const url = URL.canParse(server) ? new URL(server) : {};
  let credentials;
  if (url.protocol === 'https:') {
    credentials = grpc.credentials.createSsl(ca ? readFileSync(ca) : null);
  } else if (url.protocol === 'http:' && isLoopback(url.hostname)) {
    credentials = grpc.credentials.createInsecure();
  } else {
    throw new Error(`${server} is neither https:// nor http:// on this machine`);
  }
  const port = url.port || { 'https:': 443, 'http:': 80 }[url.protocol];
  return new Client(`${url.hostname}:${port}`, credentials, { ...OPTIONS, ...options });
}

function isLoopback(host) {
  return host === 'localhost' || host === '[::1]' || (isIPv4(host) && host.startsWith('127.'));
}

// The metadata that shows a token.
export function bearer(token) {
  const metadata = new grpc.Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  return metadata;
}

// Makes a unary call that is to be answered within so many seconds.
export function call(client, method, request, { metadata = new grpc.Metadata(), patience }) {
  const deadline = Date.now() + patience * 1_000;
  return new Promise((resolve, reject) => {
    client[method](request, metadata, { deadline }, (error, answer) =>
      error ? reject(error) : resolve(answer),
    );
  });
}

// Whether an error is one that gRPC or a server has given.
export function isStatus(error) {
  return Number.isInteger(error.code) && error.metadata instanceof grpc.Metadata;
}

// Says what went wrong: the code, the server's reason if it gave one, and its message.
export function describe(error) {
  const reason = reasonOf(error);
  return `${grpc.status[error.code]}${reason ? ` (${reason})` : ''}: ${error.details}`;
}

// As much of `google.rpc.Status` and `google.rpc.ErrorInfo` as it takes to read a reason.
const { Status, ErrorInfo } = protobuf.Root.fromJSON({
  nested: {
    Any: { fields: { typeUrl: { type: 'string', id: 1 }, value: { type: 'bytes', id: 2 } } },
    Status: { fields: { details: { rule: 'repeated', type: 'Any', id: 3 } } },
    ErrorInfo: { fields: { reason: { type: 'string', id: 1 }, domain: { type: 'string', id: 2 } } },
  },
}).nested;

// The server's reason, a name of `aap.v1.ErrorReason` without its prefix; empty without one.
function reasonOf(error) {
  const [status] = error.metadata.get('grpc-status-details-bin');
  for (const detail of status ? Status.decode(status).details : []) {
    if (detail.typeUrl.endsWith('/google.rpc.ErrorInfo')) {
      const info = ErrorInfo.decode(detail.value);
      if (info.domain === 'aap') return info.reason.replace(/^ERROR_REASON_/, '');
    }
  }
  return '';
}
