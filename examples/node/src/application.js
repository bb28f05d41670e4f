// An application that reads a secret through an enforcement point, by a session of its own.
//
//     node src/application.js reports/2025

import { parseArgs } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';

import { call, describe, isStatus, open } from './client/channel.js';
import { ClientKey } from './client/clientKey.js';
import { aap, example } from './client/protos.js';
import { Sessions } from './client/sessions.js';
import * as settings from './client/settings.js';

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      // How often to read it, after how many seconds again, and how many times at once.
      times: { type: 'string', default: '1' },
      every: { type: 'string', default: '1' },
      'at-once': { type: 'string', default: '1' },
      // Print a session's token and read nothing.
      'show-session': { type: 'boolean', default: false },
    },
  });
  const server = open(aap.SessionService, settings.required('AAP_SERVER'), process.env.AAP_CA);
  const sessions = openSessions(server);
  if (values['show-session']) {
    console.log(await sessions.token());
    return 0;
  }
  const gateway = settings.required('GATEWAY_SERVER');
  const client = open(example.SecretService, gateway, process.env.AAP_CA, {
    interceptors: [sessions.interceptor],
  });
  const secret = positionals[0] ?? 'reports/2025';
  let readAll = true;
  for (let turn = 0; turn < Number(values.times); turn++) {
    if (turn > 0) await sleep(Number(values.every) * 1_000);
    const reads = Array.from({ length: Number(values['at-once']) }, () => read(client, secret));
    readAll = (await Promise.all(reads)).every((one) => one);
  }
  return readAll ? 0 : 1;
}

function openSessions(client) {
  const password = settings.line(settings.required('AAP_CLIENT_KEY_PASSWORD_FILE'));
  return new Sessions(client, {
    accessPoint: settings.accessPoint(),
    clientKey: ClientKey.open(settings.required('AAP_CLIENT_KEY'), password),
    audience: settings.required('AAP_AUDIENCE'),
    seconds: Number(process.env.AAP_SESSION_SECONDS ?? '900'),
  });
}

async function read(client, name) {
  try {
    const { value } = await call(client, 'readSecret', { name }, { patience: 10 });
    console.log(`${name} is read: ${value.length} bytes`);
    return true;
  } catch (error) {
    if (!isStatus(error)) throw error;
    console.log(`${name} can't be read: ${describe(error)}`);
    return false;
  }
}

try {
  process.exit(await main());
} catch (error) {
  console.error(isStatus(error) ? describe(error) : error.message);
  process.exit(2);
}
