package aap.client;

import aap.v1.AuthorizationServiceGrpc;
import aap.v1.AuthorizationServiceGrpc.AuthorizationServiceBlockingStub;
import aap.v1.AuthorizationServiceOuterClass.Check;
import aap.v1.AuthorizationServiceOuterClass.CheckAccessRequest;
import aap.v1.AuthorizationServiceOuterClass.CheckAccessResponse;
import aap.v1.DecisionOuterClass.Origin;
import aap.v1.PolicyServiceOuterClass.PublicNetwork;

import com.google.protobuf.ByteString;

import example.v1.SecretServiceGrpc;
import example.v1.SecretServiceOuterClass.ReadSecretRequest;
import example.v1.SecretServiceOuterClass.ReadSecretResponse;

import io.grpc.Channel;
import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerCredentials;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsServerCredentials;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.StreamObserver;

import java.io.File;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.URI;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** An enforcement point: hands secrets to applications that {@code aap} allows to read them. */
public final class Gateway extends SecretServiceGrpc.SecretServiceImplBase {
    /** What this gateway guards. */
    private static final Map<String, ByteString> SECRETS =
            Map.of("reports/2025", ByteString.copyFromUtf8("the figures of 2025"));

    /** An application that waits longer than this for a decision is refused. */
    private static final long PATIENCE_SECONDS = 5;

    private static final Context.Key<String> SESSION = Context.key("session");
    private static final Context.Key<String> ADDRESS = Context.key("address");

    private final AuthorizationServiceBlockingStub stub;
    private final String location;

    private Gateway(Channel channel, String token, String location) {
        this.stub =
                AuthorizationServiceGrpc.newBlockingStub(channel)
                        .withCallCredentials(Channels.bearer(token));
        this.location = location;
    }

    /** Asks before each answer, and answers nothing that was not allowed. */
    @Override
    public void readSecret(ReadSecretRequest request, StreamObserver<ReadSecretResponse> answer) {
        try {
            answer.onNext(read(request.getName()));
            answer.onCompleted();
        } catch (StatusRuntimeException refusal) {
            answer.onError(refusal);
        }
    }

    private ReadSecretResponse read(String name) {
        CheckAccessResponse answer = check("secret/" + name);
        // The reason is for who runs this, not for who asks.
        if (!Decisions.allows(answer.getDecision())) {
            throw Decisions.isAboutCredential(answer.getDecision())
                    ? refusal(Status.UNAUTHENTICATED, "the session is no good")
                    : refusal(Status.PERMISSION_DENIED, "this is not allowed");
        }
        ByteString secret = SECRETS.get(name);
        if (secret == null) {
            throw refusal(Status.NOT_FOUND, "there is no such secret");
        }
        return ReadSecretResponse.newBuilder().setValue(secret).build();
    }

    private CheckAccessResponse check(String resource) {
        Check check =
                Check.newBuilder()
                        .setSession(SESSION.get())
                        .setAction("GetSecretValue")
                        .setResource(resource)
                        .setInstance("shared")
                        // Which network this gateway's listener is reached from is for it to know.
                        .setOrigin(
                                Origin.newBuilder()
                                        .setPublicNetwork(PublicNetwork.getDefaultInstance())
                                        .setAddress(ADDRESS.get()))
                        .build();
        try {
            CheckAccessResponse answer =
                    stub.withDeadlineAfter(PATIENCE_SECONDS, TimeUnit.SECONDS)
                            .checkAccess(
                                    CheckAccessRequest.newBuilder()
                                            .setParent(location)
                                            .setCheck(check)
                                            .build());
            System.out.println(resource + ": " + Decisions.inWords(answer));
            return answer;
        } catch (StatusRuntimeException error) {
            System.out.println(resource + ": no decision: " + Channels.describe(error));
            // What the application asked for can be wrong; all else is this gateway's own trouble.
            boolean invalid = error.getStatus().getCode() == Status.Code.INVALID_ARGUMENT;
            throw refusal(
                    invalid ? Status.INVALID_ARGUMENT : Status.UNAVAILABLE,
                    "this can't be decided");
        }
    }

    private static StatusRuntimeException refusal(Status status, String description) {
        return status.withDescription(description).asRuntimeException();
    }

    /** Keeps what a call shows, and where it comes from, for the one who answers it. */
    private static final class Shown implements ServerInterceptor {
        @Override
        public <Q, A> ServerCall.Listener<Q> interceptCall(
                ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
            // Without a session the check is denied, and recorded.
            String shown = headers.get(Channels.AUTHORIZATION);
            String session = shown == null ? "" : shown.replaceFirst("^Bearer ", "");
            SocketAddress peer = call.getAttributes().get(Grpc.TRANSPORT_ATTR_REMOTE_ADDR);
            String address =
                    peer instanceof InetSocketAddress socket
                            ? socket.getAddress().getHostAddress()
                            : "";
            Context context =
                    Context.current().withValue(SESSION, session).withValue(ADDRESS, address);
            return Contexts.interceptCall(context, call, headers, next);
        }
    }

    /** Runs it. */
    public static void main(String[] arguments) throws InterruptedException {
        try {
            serve();
        } catch (IOException | IllegalArgumentException error) {
            System.err.println(error.getMessage());
            System.exit(2);
        }
    }

    private static void serve() throws IOException, InterruptedException {
        Channel channel = Channels.open(Settings.required("AAP_SERVER"));
        Gateway gateway = new Gateway(channel, Settings.token(), Settings.location());
        URI address = URI.create("//" + Settings.optional("GATEWAY_LISTEN", "127.0.0.1:7400"));
        InetSocketAddress socket = new InetSocketAddress(address.getHost(), address.getPort());
        Server server =
                NettyServerBuilder.forAddress(socket, credentials(socket))
                        .addService(gateway)
                        .intercept(new Shown())
                        .build()
                        .start();
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdown));
        System.out.println("serving on " + address.getAuthority());
        server.awaitTermination();
    }

    private static ServerCredentials credentials(InetSocketAddress address) throws IOException {
        String certificate = Settings.optional("GATEWAY_CERTIFICATE", "");
        String key = Settings.optional("GATEWAY_KEY", "");
        if (!certificate.isEmpty() && !key.isEmpty()) {
            return TlsServerCredentials.create(new File(certificate), new File(key));
        }
        if (address.getAddress().isLoopbackAddress()) {
            return InsecureServerCredentials.create();
        }
        throw new IllegalArgumentException(
                "plain text is for 127.0.0.1: " + address + " needs a certificate and a key");
    }
}
