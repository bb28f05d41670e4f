// Makes clients and services of the protos, when the program starts.

import { fileURLToPath } from 'node:url';

import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';

const INCLUDE = ['../../../../proto', '../../../proto'].map((path) =>
  fileURLToPath(new URL(path, import.meta.url)),
);

// Messages as JSON has them: numbers of 64 bits, enums and bytes are strings. What isn't set isn't
// there.
const AS_JSON = { longs: String, enums: String, bytes: String };

function load(files, options) {
  const definition = protoLoader.loadSync(files, { includeDirs: INCLUDE, ...options });
  return grpc.loadPackageDefinition(definition);
}

export const aap = load(
  ['session', 'authorization', 'audit'].map((name) => `aap/v1/${name}_service.proto`),
  AS_JSON,
).aap.v1;

export const example = load(['example/v1/secret_service.proto'], {}).example.v1;
