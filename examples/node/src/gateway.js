// An enforcement point: hands secrets to applications that `aap` allows to read them.
//
//     node src/gateway.js

import { readFileSync } from 'node:fs';

import grpc from '@grpc/grpc-js';

import { bearer, call, describe, open } from './client/channel.js';
import { allows, inWords, isAboutCredential } from './client/decisions.js';
import { aap, example } from './client/protos.js';
import * as settings from './client/settings.js';

// What this gateway guards.
const SECRETS = new Map([['reports/2025', Buffer.from('the figures of 2025')]]);
// An application that waits longer than so many seconds for a decision is refused.
const PATIENCE = 5;

class Refusal extends Error {
  constructor(code, details) {
    super(details);
    Object.assign(this, { code, details });
  }
}

// Asks before each answer, and answers nothing that was not allowed.
class Gateway {
  #client;
  #metadata;
  #location;

  constructor(client, token, location) {
    this.#client = client;
    this.#metadata = bearer(token);
    this.#location = location;
  }

  async readSecret(incoming) {
    const { name } = incoming.request;
    const resource = `secret/${name ?? ''}`;
    const { decision } = await this.#check(incoming, resource);
    // The reason is for who runs this, not for who asks.
    if (!allows(decision)) {
      throw isAboutCredential(decision)
        ? new Refusal(grpc.status.UNAUTHENTICATED, 'the session is no good')
        : new Refusal(grpc.status.PERMISSION_DENIED, 'this is not allowed');
    }
    if (!SECRETS.has(name)) throw new Refusal(grpc.status.NOT_FOUND, 'there is no such secret');
    return { value: SECRETS.get(name) };
  }

  async #check(incoming, resource) {
    const check = {
      session: sessionOf(incoming),
      action: 'GetSecretValue',
      resource,
      instance: 'shared',
      // Which network this gateway's listener is reached from is for it to know.
      origin: { publicNetwork: {}, address: addressOf(incoming.getPeer()) },
    };
    const request = { parent: this.#location, check };
    const options = { metadata: this.#metadata, patience: PATIENCE };
    try {
      const answer = await call(this.#client, 'checkAccess', request, options);
      console.log(`${resource}: ${inWords(answer)}`);
      return answer;
    } catch (error) {
      console.log(`${resource}: no decision: ${describe(error)}`);
      // What the application asked for can be wrong; all else is this gateway's own trouble.
      const invalid = error.code === grpc.status.INVALID_ARGUMENT;
      const code = invalid ? grpc.status.INVALID_ARGUMENT : grpc.status.UNAVAILABLE;
      throw new Refusal(code, "this can't be decided");
    }
  }
}

// The session that a call shows; empty if it shows none, which is denied and recorded.
function sessionOf(incoming) {
  const [shown = ''] = incoming.metadata.get('authorization');
  return shown.replace(/^Bearer /, '');
}

// The address in what gRPC calls a peer: `127.0.0.1:1234`, or `[::1]:1234`.
function addressOf(peer) {
  return peer.slice(0, peer.lastIndexOf(':')).replace(/^\[|\]$/g, '');
}

function transport(address, certificate, key) {
  if (certificate && key) {
    const pair = { private_key: readFileSync(key), cert_chain: readFileSync(certificate) };
    return grpc.ServerCredentials.createSsl(null, [pair]);
  }
  if (address.startsWith('127.')) return grpc.ServerCredentials.createInsecure();
  throw new Error(`plain text is for 127.0.0.1: ${address} needs a certificate and a key`);
}

function main() {
  const server = settings.required('AAP_SERVER');
  const client = open(aap.AuthorizationService, server, process.env.AAP_CA);
  const gateway = new Gateway(client, settings.token(), settings.location());
  const serving = new grpc.Server();
  serving.addService(example.SecretService.service, {
    readSecret: (incoming, answer) =>
      gateway.readSecret(incoming).then((value) => answer(null, value), answer),
  });
  const { GATEWAY_CERTIFICATE: certificate, GATEWAY_KEY: key } = process.env;
  const address = process.env.GATEWAY_LISTEN ?? '127.0.0.1:7400';
  serving.bindAsync(address, transport(address, certificate, key), (error) => {
    if (error) stop(error);
    console.log(`serving on ${address}`);
  });
  process.on('SIGTERM', () => serving.tryShutdown(() => process.exit(0)));
}

function stop(error) {
  console.error(error.message);
  process.exit(2);
}

try {
  main();
} catch (error) {
  stop(error);
}
