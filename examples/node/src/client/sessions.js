// Gets sessions by a client key, and renews them before they end.

import { performance } from 'node:perf_hooks';

import grpc from '@grpc/grpc-js';

import { call, describe, isStatus } from './channel.js';

// How long an answer may take, in seconds.
const PATIENCE = 10;
// A session is renewed when a third of its time is left, or so many seconds.
const RENEW_BEFORE = 60;
// After a failure nobody asks again for so many seconds, twice as long after each further one.
const FIRST_PAUSE = 0.5;
const LONGEST_PAUSE = 15;

// Always has a session, as far as the server grants them. One is enough for a program: of all calls
// that use it, one has a session asked for while the others go on with the one there is.
export class Sessions {
  #client;
  #asked;
  // By this process's monotonic clock, in seconds: { token, renewAt, endsAt }.
  #session;
  // What those who have no session wait for; nothing if nobody asks.
  #asking;
  #failure;
  #pause = FIRST_PAUSE;
  #askAgainAt = 0;

  // `asked` has the access point's whole name, its client key, what the server is called in
  // assertions, and how long sessions are to last: { accessPoint, clientKey, audience, seconds }.
  constructor(client, asked) {
    this.#client = client;
    this.#asked = asked;
  }

  // The token of a session that isn't over; rejects with a gRPC status if none is granted.
  async token() {
    for (;;) {
      const session = this.#session;
      const alive = session !== undefined && now() < session.endsAt;
      if (alive && now() < session.renewAt) return session.token;
      if (!this.#asking && now() >= this.#askAgainAt) {
        this.#asking = this.#ask().finally(() => (this.#asking = undefined));
      }
      if (alive) return session.token;
      if (!this.#asking) throw this.#failure;
      await this.#asking;
    }
  }

  // Forgets a session that an enforcement point took no more, unless there is a newer one.
  drop(token) {
    if (this.#session?.token === token) this.#session = undefined;
  }

  async #ask() {
    try {
      this.#session = await this.#create();
      this.#pause = FIRST_PAUSE;
    } catch (error) {
      if (this.#session) console.error(`the session could not be renewed yet: ${describe(error)}`);
      this.#failure = error;
      this.#askAgainAt = now() + this.#pause;
      this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
    }
  }

  async #create() {
    const { accessPoint, clientKey, audience, seconds } = this.#asked;
    const request = {
      accessPoint,
      clientKeyAssertion: await clientKey.assertion(audience),
      lifetimeSeconds: seconds,
    };
    const [askedAt, askedAtByWall] = [now(), Date.now() / 1_000];
    const answer = await call(this.#client, 'createSession', request, { patience: PATIENCE });
    // What was asked for bounds it, if this machine's clock is slow; a client key that ends may
    // have made it shorter.
    const granted = Number(answer.expireTime.seconds) - askedAtByWall;
    const lasts = Math.min(seconds, granted);
    const endsAt = askedAt + lasts;
    return { token: answer.token, renewAt: endsAt - Math.min(lasts / 3, RENEW_BEFORE), endsAt };
  }

  // An interceptor that shows the session with each unary call, and once a new one where it is not
  // taken any more.
  get interceptor() {
    return (options, nextCall) => this.#intercept(options, nextCall);
  }

  #intercept(options, nextCall) {
    let metadata, request, token, again;
    const cancelled = new AbortController();
    const tokenInTime = () => inTime(this.token(), options.deadline, cancelled.signal);
    // Calls that aren't unary are shown the session, and are not repeated.
    const { requestStream, responseStream } = options.method_definition;
    const repeatable = !requestStream && !responseStream;

    const repeat = async (listener) => {
      this.drop(token);
      const shown = showing(metadata, await tokenInTime());
      again = nextCall(options);
      again.start(shown, {
        onReceiveMetadata: (received) => listener.onReceiveMetadata(received),
        onReceiveMessage: (message) => listener.onReceiveMessage(message),
        onReceiveStatus: (status) => listener.onReceiveStatus(status),
      });
      again.sendMessage(request);
      again.halfClose();
    };

    const requester = new grpc.RequesterBuilder()
      .withStart(async (sent, listener, next) => {
        metadata = sent;
        try {
          token = await tokenInTime();
        } catch (error) {
          listener.onReceiveStatus(statusOf(error));
          return;
        }
        const watching = new grpc.ListenerBuilder()
          .withOnReceiveStatus((status, pass) => {
            if (!repeatable || status.code !== grpc.status.UNAUTHENTICATED) {
              pass(status);
              return;
            }
            repeat(listener).catch((error) => listener.onReceiveStatus(statusOf(error)));
          })
          .build();
        next(showing(metadata, token), watching);
      })
      .withSendMessage((message, next) => {
        request = message;
        next(message);
      })
      .withCancel((next) => {
        cancelled.abort();
        again?.cancelWithStatus(grpc.status.CANCELLED, 'cancelled by the client');
        next();
      })
      .build();
    return new grpc.InterceptingCall(nextCall(options), requester);
  }
}

// What is promised, or the status that a call ends with which can't wait for it any more: gRPC ends
// no call that isn't started yet.
function inTime(promise, deadline, cancelled) {
  return new Promise((resolve, reject) => {
    const end = (code, details) => reject({ code, details, metadata: new grpc.Metadata() });
    const left = Number(deadline) - Date.now();
    const late = () => end(grpc.status.DEADLINE_EXCEEDED, 'there is no session in time');
    const timer = Number.isFinite(left) ? setTimeout(late, left) : undefined;
    cancelled.onabort = () => end(grpc.status.CANCELLED, 'cancelled by the client');
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

// What a call ends with that has no session.
function statusOf(error) {
  if (isStatus(error)) return error;
  return { code: grpc.status.UNKNOWN, details: error.message, metadata: new grpc.Metadata() };
}

function showing(metadata, token) {
  const shown = metadata.clone();
  shown.set('authorization', `Bearer ${token}`);
  return shown;
}

function now() {
  return performance.now() / 1_000;
}
