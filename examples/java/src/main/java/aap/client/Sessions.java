package aap.client;

import aap.v1.SessionServiceGrpc;
import aap.v1.SessionServiceOuterClass.CreateSessionRequest;
import aap.v1.SessionServiceOuterClass.Session;

import io.grpc.Channel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.StreamObserver;

import java.time.Duration;
import java.time.Instant;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.logging.Logger;

/**
 * Always has a session, as far as the server grants them. One is enough for a program: of all
 * threads that use it, one has a session asked for while the others go on with the one there is.
 */
final class Sessions {
    /** How long an answer may take. */
    private static final Duration PATIENCE = Duration.ofSeconds(10);

    /** A session is renewed when a third of its time is left, or this much. */
    private static final Duration RENEW_BEFORE = Duration.ofMinutes(1);

    /** After a failure nobody asks again for so long, twice as long after each further one. */
    private static final Duration FIRST_PAUSE = Duration.ofMillis(500);

    private static final Duration LONGEST_PAUSE = Duration.ofSeconds(15);

    private static final Logger LOG = Logger.getLogger(Sessions.class.getName());

    private final SessionServiceGrpc.SessionServiceStub stub;
    private final Asked asked;

    // The monitor of this guards all below. Times are of System.nanoTime().
    private Granted session;
    private CompletableFuture<String> asking;
    private Throwable failure;
    private Duration pause = FIRST_PAUSE;
    private long askAgainAt = System.nanoTime();

    /**
     * What a session is asked for, and how.
     *
     * @param accessPoint the access point's whole name
     * @param audience what the server is called in assertions: its {@code sessions.audience}
     * @param lifetime how long sessions are to last, in whole seconds, an hour at most
     */
    record Asked(String accessPoint, ClientKey key, String audience, Duration lifetime) {}

    private record Granted(String token, long renewAt, long endsAt) {}

    Sessions(Channel channel, Asked asked) {
        this.stub = SessionServiceGrpc.newStub(channel);
        this.asked = asked;
    }

    /**
     * The token of a session that isn't over, at once if there is one; fails with a {@link
     * StatusRuntimeException} if none is granted.
     */
    synchronized CompletableFuture<String> token() {
        long now = System.nanoTime();
        boolean alive = session != null && now - session.endsAt < 0;
        if (alive && now - session.renewAt < 0) {
            return CompletableFuture.completedFuture(session.token);
        }
        if (asking == null && now - askAgainAt >= 0) {
            ask();
        }
        if (alive) {
            return CompletableFuture.completedFuture(session.token);
        }
        return asking != null ? asking : CompletableFuture.failedFuture(failure);
    }

    /** Forgets a session that an enforcement point took no more, unless there is a newer one. */
    synchronized void drop(String token) {
        if (session != null && session.token.equals(token)) {
            session = null;
        }
    }

    private void ask() {
        CreateSessionRequest request =
                CreateSessionRequest.newBuilder()
                        .setAccessPoint(asked.accessPoint())
                        .setClientKeyAssertion(asked.key().assertion(asked.audience()))
                        .setLifetimeSeconds((int) asked.lifetime().toSeconds())
                        .build();
        CompletableFuture<String> answered = new CompletableFuture<>();
        asking = answered;
        long askedAt = System.nanoTime();
        Instant askedAtByWall = Instant.now();
        stub.withDeadlineAfter(PATIENCE.toMillis(), TimeUnit.MILLISECONDS)
                .createSession(
                        request,
                        new StreamObserver<>() {
                            private Session answer;

                            @Override
                            public void onNext(Session session) {
                                answer = session;
                            }

                            @Override
                            public void onError(Throwable error) {
                                settle(null, error);
                                answered.completeExceptionally(error);
                            }

                            @Override
                            public void onCompleted() {
                                settle(granted(answer, askedAt, askedAtByWall), null);
                                answered.complete(answer.getToken());
                            }
                        });
    }

    private synchronized void settle(Granted granted, Throwable error) {
        asking = null;
        if (error == null) {
            session = granted;
            pause = FIRST_PAUSE;
            return;
        }
        if (session != null) {
            LOG.warning("the session could not be renewed yet: " + Status.fromThrowable(error));
        }
        failure = error;
        askAgainAt = System.nanoTime() + pause.toNanos();
        pause = shorter(pause.multipliedBy(2), LONGEST_PAUSE);
    }

    private Granted granted(Session answer, long askedAt, Instant askedAtByWall) {
        // What was asked for bounds it, if this machine's clock is slow; a client key that ends may
        // have made it shorter.
        Instant expires =
                Instant.ofEpochSecond(
                        answer.getExpireTime().getSeconds(), answer.getExpireTime().getNanos());
        Duration lasts = shorter(asked.lifetime(), Duration.between(askedAtByWall, expires));
        long endsAt = askedAt + lasts.toNanos();
        Duration left = shorter(lasts.dividedBy(3), RENEW_BEFORE);
        return new Granted(answer.getToken(), endsAt - left.toNanos(), endsAt);
    }

    private static Duration shorter(Duration one, Duration other) {
        return one.compareTo(other) < 0 ? one : other;
    }
}
