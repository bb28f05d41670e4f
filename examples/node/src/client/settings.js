// What the programs are told by their environment; `../../../README.md` has the list.

import { readFileSync } from 'node:fs';

// The value of a variable that must be there.
export function required(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

// The account and region that everything here is about.
export function location() {
  return `accounts/${required('AAP_ACCOUNT')}/regions/${required('AAP_REGION')}`;
}

// The name of the access point that the application is.
export function accessPoint() {
  return `${location()}/accessPoints/${required('AAP_ACCESS_POINT')}`;
}

// A caller's bearer token, from a file or from the environment itself.
export function token() {
  const path = process.env.AAP_TOKEN_FILE;
  return path ? line(path) : required('AAP_TOKEN');
}

// What is in a file of one line.
export function line(path) {
  return readFileSync(path, 'utf8').trim();
}
