// Follows the audit log into a directory, and goes on where it was whenever it is started again.
//
//     node src/audit.js DIRECTORY

import { describe, isStatus, open } from './client/channel.js';
import { Follower } from './client/follower.js';
import { aap } from './client/protos.js';
import * as settings from './client/settings.js';

try {
  const [directory] = process.argv.slice(2);
  if (!directory) throw new Error('usage: node src/audit.js DIRECTORY');
  const server = settings.required('AAP_SERVER');
  const client = open(aap.AuditService, server, process.env.AAP_CA);
  await new Follower(client, settings.token(), directory).run();
} catch (error) {
  const why = isStatus(error)
    ? `the audit log can't be followed any further: ${describe(error)}`
    : error.message;
  console.error(why);
  process.exit(2);
}
