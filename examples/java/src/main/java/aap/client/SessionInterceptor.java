package aap.client;

import static java.util.concurrent.TimeUnit.NANOSECONDS;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.Deadline;
import io.grpc.ForwardingClientCallListener.SimpleForwardingClientCallListener;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.Status;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeoutException;

/**
 * Shows the session with each unary call, and once a new one where it is not taken any more. Calls
 * of another kind can't be repeated: they need {@link Channels#bearer} and a session's token.
 */
final class SessionInterceptor implements ClientInterceptor {
    private static final Status LATE =
            Status.DEADLINE_EXCEEDED.withDescription("there is no session in time");

    private final Sessions sessions;

    SessionInterceptor(Sessions sessions) {
        this.sessions = sessions;
    }

    @Override
    public <Q, A> ClientCall<Q, A> interceptCall(
            MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
        if (method.getType() != MethodType.UNARY) {
            throw new IllegalArgumentException(method.getFullMethodName() + " is not unary");
        }
        return new RepeatableCall<>(() -> next.newCall(method, options), options);
    }

    private interface Attempts<Q, A> {
        ClientCall<Q, A> begin();
    }

    /**
     * Keeps a call until all of it is there, so that it can be made once there is a session, and
     * again.
     */
    private final class RepeatableCall<Q, A> extends ClientCall<Q, A> {
        private final Attempts<Q, A> attempts;
        private final Executor executor;
        private final Deadline deadline;
        private Listener<A> listener;
        private Metadata headers;
        private Q request;

        // The monitor of this guards all below.
        private ClientCall<Q, A> attempt;
        private int answersWanted;
        private boolean closed;

        RepeatableCall(Attempts<Q, A> attempts, CallOptions options) {
            this.attempts = attempts;
            this.executor = options.getExecutor() != null ? options.getExecutor() : Runnable::run;
            this.deadline = options.getDeadline();
        }

        @Override
        public void start(Listener<A> listener, Metadata headers) {
            this.listener = listener;
            this.headers = headers;
        }

        @Override
        public void sendMessage(Q message) {
            request = message;
        }

        @Override
        public void halfClose() {
            show(true);
        }

        @Override
        public synchronized void request(int answers) {
            answersWanted += answers;
            if (attempt != null) {
                attempt.request(answers);
            }
        }

        @Override
        public void cancel(String message, Throwable cause) {
            ClientCall<Q, A> running = running();
            if (running != null) {
                running.cancel(message, cause);
            } else {
                close(Status.CANCELLED.withDescription(message).withCause(cause), new Metadata());
            }
        }

        private synchronized ClientCall<Q, A> running() {
            return attempt;
        }

        private void show(boolean repeatable) {
            tokenInTime()
                    .whenComplete(
                            (token, error) -> {
                                if (error == null) {
                                    begin(token, repeatable);
                                } else if (error instanceof TimeoutException) {
                                    close(LATE, new Metadata());
                                } else {
                                    Metadata trailers = Status.trailersFromThrowable(error);
                                    close(
                                            Status.fromThrowable(error),
                                            trailers != null ? trailers : new Metadata());
                                }
                            });
        }

        private CompletableFuture<String> tokenInTime() {
            CompletableFuture<String> token = sessions.token();
            if (deadline == null || token.isDone()) {
                return token;
            }
            return token.copy().orTimeout(deadline.timeRemaining(NANOSECONDS), NANOSECONDS);
        }

        private synchronized void begin(String token, boolean repeatable) {
            if (closed) {
                return;
            }
            Metadata shown = new Metadata();
            shown.merge(headers);
            shown.merge(Channels.showing(token));
            attempt = attempts.begin();
            attempt.start(
                    new SimpleForwardingClientCallListener<>(listener) {
                        @Override
                        public void onClose(Status status, Metadata trailers) {
                            if (repeatable && status.getCode() == Status.Code.UNAUTHENTICATED) {
                                sessions.drop(token);
                                again();
                            } else {
                                super.onClose(status, trailers);
                            }
                        }
                    },
                    shown);
            attempt.request(answersWanted);
            attempt.sendMessage(request);
            attempt.halfClose();
        }

        private void again() {
            synchronized (this) {
                attempt = null;
            }
            show(false);
        }

        /** Ends a call of which no attempt is under way. */
        private void close(Status status, Metadata trailers) {
            synchronized (this) {
                if (closed) {
                    return;
                }
                closed = true;
            }
            executor.execute(() -> listener.onClose(status, trailers));
        }
    }
}
