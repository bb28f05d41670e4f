package aap.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;

import io.grpc.CallCredentials;
import io.grpc.ChannelCredentials;
import io.grpc.ConnectivityState;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.protobuf.StatusProto;

import java.io.File;
import java.io.IOException;
import java.net.InetAddress;
import java.net.URI;
import java.net.UnknownHostException;
import java.util.concurrent.Executor;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.logging.Level;
import java.util.logging.Logger;

/** Opens channels: TLS, or plain text on this machine. */
final class Channels {
    static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    /** gRPC's own bound is two minutes, long after a restarted server is back. */
    private static final long LONGEST_BACKOFF_SECONDS = 5;

    /** Says at its start what it has found. */
    private static final Logger GRPC_LOG = Logger.getLogger("io.grpc");

    static {
        GRPC_LOG.setLevel(Level.WARNING);
    }

    private static final ScheduledExecutorService TIMER =
            Executors.newSingleThreadScheduledExecutor(
                    task -> {
                        Thread thread = new Thread(task, "backoff");
                        thread.setDaemon(true);
                        return thread;
                    });

    private Channels() {}

    /**
     * Opens a channel to {@code https://HOST:PORT}, or to {@code http://HOST:PORT} on this machine.
     * The file {@code AAP_CA} has the authorities that vouch for the server, in PEM; without it,
     * Java's own count.
     */
    static ManagedChannel open(String server) throws IOException {
        URI uri = URI.create(server);
        ManagedChannel channel =
                Grpc.newChannelBuilder(uri.getAuthority(), credentials(uri))
                        // Notices a server that is gone without a word, which a watch would wait
                        // for forever.
                        .keepAliveTime(30, TimeUnit.SECONDS)
                        .keepAliveTimeout(10, TimeUnit.SECONDS)
                        .build();
        TIMER.scheduleWithFixedDelay(
                () -> reconnect(channel), 0, LONGEST_BACKOFF_SECONDS, TimeUnit.SECONDS);
        return channel;
    }

    private static ChannelCredentials credentials(URI server) throws IOException {
        if ("https".equals(server.getScheme()) && server.getHost() != null) {
            TlsChannelCredentials.Builder tls = TlsChannelCredentials.newBuilder();
            String authorities = Settings.optional("AAP_CA", "");
            return (authorities.isEmpty() ? tls : tls.trustManager(new File(authorities))).build();
        }
        if ("http".equals(server.getScheme()) && isLoopback(server.getHost())) {
            return InsecureChannelCredentials.create();
        }
        throw new IllegalArgumentException(
                server + " is neither https:// nor http:// on this machine");
    }

    private static boolean isLoopback(String host) {
        try {
            return host != null && InetAddress.getByName(host).isLoopbackAddress();
        } catch (UnknownHostException unknown) {
            return false;
        }
    }

    private static void reconnect(ManagedChannel channel) {
        if (channel.getState(false) == ConnectivityState.TRANSIENT_FAILURE) {
            channel.resetConnectBackoff();
        }
    }

    /** Shows a token with each call. {@link #open} has seen to it that nobody else reads it. */
    static CallCredentials bearer(String token) {
        return new CallCredentials() {
            @Override
            public void applyRequestMetadata(
                    RequestInfo call, Executor executor, MetadataApplier applier) {
                applier.apply(showing(token));
            }
        };
    }

    /** The metadata that shows a token. */
    static Metadata showing(String token) {
        Metadata metadata = new Metadata();
        metadata.put(AUTHORIZATION, "Bearer " + token);
        return metadata;
    }

    /** Says what went wrong: the code, the server's reason if it gave one, and its message. */
    static String describe(StatusRuntimeException error) {
        String reason = reasonOf(error);
        return error.getStatus().getCode()
                + (reason.isEmpty() ? "" : " (" + reason + ")")
                + ": "
                + error.getStatus().getDescription();
    }

    /** The server's reason, a name of {@code aap.v1.ErrorReason} without its prefix; or nothing. */
    private static String reasonOf(StatusRuntimeException error) {
        for (Any detail : StatusProto.fromThrowable(error).getDetailsList()) {
            try {
                if (detail.is(ErrorInfo.class)) {
                    ErrorInfo info = detail.unpack(ErrorInfo.class);
                    if (info.getDomain().equals("aap")) {
                        return info.getReason().replaceFirst("^ERROR_REASON_", "");
                    }
                }
            } catch (InvalidProtocolBufferException broken) {
                // It is as good as none.
                return "";
            }
        }
        return "";
    }
}
