package aap.client;

import com.google.protobuf.ByteString;

import example.v1.SecretServiceGrpc;
import example.v1.SecretServiceGrpc.SecretServiceBlockingStub;
import example.v1.SecretServiceOuterClass.ReadSecretRequest;

import io.grpc.ClientInterceptors;
import io.grpc.StatusRuntimeException;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

/** An application that reads a secret through an enforcement point, by a session of its own. */
public final class Application {
    private String secret = "reports/2025";
    private int times = 1;
    private double every = 1;
    private int atOnce = 1;
    private boolean showSession;

    private Application() {}

    /** Runs it: {@code Application [--times N] [--every SECONDS] [--at-once N] [SECRET]}. */
    public static void main(String[] arguments) throws InterruptedException {
        try {
            Application application = new Application();
            application.parse(new ArrayDeque<>(List.of(arguments)));
            System.exit(application.run());
        } catch (StatusRuntimeException error) {
            stop(Channels.describe(error));
        } catch (IOException | IllegalArgumentException error) {
            stop(error.getMessage());
        }
    }

    private static void stop(String why) {
        System.err.println(why);
        System.exit(2);
    }

    private void parse(Deque<String> arguments) {
        while (!arguments.isEmpty()) {
            String argument = arguments.pop();
            switch (argument) {
                case "--times" -> times = Integer.parseInt(arguments.pop());
                case "--every" -> every = Double.parseDouble(arguments.pop());
                case "--at-once" -> atOnce = Integer.parseInt(arguments.pop());
                case "--show-session" -> showSession = true;
                default -> secret = argument;
            }
        }
    }

    private int run() throws IOException, InterruptedException {
        Sessions sessions = openSessions();
        if (showSession) {
            System.out.println(tokenOf(sessions));
            return 0;
        }
        SecretServiceBlockingStub stub =
                SecretServiceGrpc.newBlockingStub(
                        ClientInterceptors.intercept(
                                Channels.open(Settings.required("GATEWAY_SERVER")),
                                new SessionInterceptor(sessions)));
        ExecutorService threads = Executors.newFixedThreadPool(atOnce);
        boolean readAll = true;
        for (int turn = 0; turn < times; turn++) {
            if (turn > 0) {
                Thread.sleep((long) (every * 1_000));
            }
            List<CompletableFuture<Boolean>> reads = new ArrayList<>();
            for (int reader = 0; reader < atOnce; reader++) {
                reads.add(CompletableFuture.supplyAsync(() -> read(stub), threads));
            }
            readAll = reads.stream().map(CompletableFuture::join).reduce(true, Boolean::logicalAnd);
        }
        return readAll ? 0 : 1;
    }

    private static Sessions openSessions() throws IOException {
        String password = Settings.line(Settings.required("AAP_CLIENT_KEY_PASSWORD_FILE"));
        ClientKey key = ClientKey.open(Path.of(Settings.required("AAP_CLIENT_KEY")), password);
        long seconds = Long.parseLong(Settings.optional("AAP_SESSION_SECONDS", "900"));
        return new Sessions(
                Channels.open(Settings.required("AAP_SERVER")),
                new Sessions.Asked(
                        Settings.accessPoint(),
                        key,
                        Settings.required("AAP_AUDIENCE"),
                        Duration.ofSeconds(seconds)));
    }

    private static String tokenOf(Sessions sessions) {
        try {
            return sessions.token().join();
        } catch (CompletionException error) {
            throw (StatusRuntimeException) error.getCause();
        }
    }

    private boolean read(SecretServiceBlockingStub stub) {
        try {
            ReadSecretRequest request = ReadSecretRequest.newBuilder().setName(secret).build();
            ByteString value =
                    stub.withDeadlineAfter(10, TimeUnit.SECONDS).readSecret(request).getValue();
            System.out.println(secret + " is read: " + value.size() + " bytes");
            return true;
        } catch (StatusRuntimeException error) {
            System.out.println(secret + " can't be read: " + Channels.describe(error));
            return false;
        }
    }
}
