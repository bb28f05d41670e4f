// Follows the audit log into a file: every record once, in order, whatever is killed in between.

import {
  closeSync,
  existsSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import grpc from '@grpc/grpc-js';

import { bearer, describe, isStatus } from './channel.js';

// What repeating the call does not change, so that a person must look. OUT_OF_RANGE: the records to
// go on with are no longer kept. FAILED_PRECONDITION: a new log has begun.
const FINAL = [
  grpc.status.DATA_LOSS,
  grpc.status.FAILED_PRECONDITION,
  grpc.status.INVALID_ARGUMENT,
  grpc.status.OUT_OF_RANGE,
  grpc.status.PERMISSION_DENIED,
  grpc.status.UNAUTHENTICATED,
  grpc.status.UNIMPLEMENTED,
];
const PAUSE_MILLISECONDS = 1_000;

// Appends records to `records.jsonl` in a directory, and keeps its place in `place.json`: what it
// would go on with, and how much of its file is good.
//
// The place is written after the records that it accounts for. So on a start, what the file has
// beyond it is cut off, and comes again.
export class Follower {
  #client;
  #token;
  #placePath;
  #place;
  #records;

  constructor(client, token, directory) {
    this.#client = client;
    this.#token = token;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    this.#placePath = join(directory, 'place.json');
    this.#place = existsSync(this.#placePath)
      ? JSON.parse(readFileSync(this.#placePath, 'utf8'))
      : { log_id: '', next_sequence: '0', bytes: 0 };
    const path = join(directory, 'records.jsonl');
    this.#records = openSync(path, 'a', 0o600);
    if (fstatSync(this.#records).size < this.#place.bytes) {
      throw new Error(`${path} is shorter than ${this.#placePath} says`);
    }
    ftruncateSync(this.#records, this.#place.bytes);
  }

  // Follows for ever; rejects where only a person can help.
  async run() {
    for (;;) {
      try {
        for await (const message of this.#watch()) this.#take(message);
      } catch (error) {
        if (!isStatus(error) || FINAL.includes(error.code)) throw error;
        console.error(`the watch has ended: ${describe(error)}`);
      }
      await sleep(PAUSE_MILLISECONDS * (0.5 + Math.random()));
    }
  }

  #watch() {
    const { log_id: logId, next_sequence: next } = this.#place;
    // Without a place, from the first record that is kept.
    const request = logId ? { logId, fromSequence: next } : { fromTime: {} };
    return this.#client.watchAuditRecords(request, bearer(this.#token));
  }

  #take({ scanned, logId, entries = [] }) {
    // As strings and BigInt, since a number is exact up to 2^53 only.
    const from = BigInt(scanned.from ?? 0);
    if (this.#place.log_id && from !== BigInt(this.#place.next_sequence)) {
      throw new Error(`the server goes on with ${from}, not ${this.#place.next_sequence}`);
    }
    let bytes = this.#place.bytes;
    for (const entry of entries) {
      // A record that is damaged on the server's disk has its place here all the same.
      bytes += writeWhole(this.#records, `${JSON.stringify(entry)}\n`);
    }
    if (entries.length > 0) fdatasyncSync(this.#records);
    this.#keep({ log_id: logId, next_sequence: String(BigInt(scanned.through ?? 0) + 1n), bytes });
  }

  // Replaces the file of the place, so that there is always a whole one.
  #keep(place) {
    const path = `${this.#placePath}.new`;
    const file = openSync(path, 'w', 0o600);
    writeFileSync(file, JSON.stringify(place));
    fsyncSync(file);
    closeSync(file);
    renameSync(path, this.#placePath);
    this.#place = place;
  }
}

function writeWhole(file, text) {
  const bytes = Buffer.from(text);
  for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done);
  return bytes.length;
}
