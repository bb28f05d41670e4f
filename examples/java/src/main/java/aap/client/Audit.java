package aap.client;

import io.grpc.StatusRuntimeException;

import java.io.IOException;
import java.nio.file.Path;

/**
 * Follows the audit log into a directory, and goes on where it was whenever it is started again.
 */
public final class Audit {
    private Audit() {}

    /** Runs it: {@code Audit DIRECTORY}. */
    public static void main(String[] arguments) throws InterruptedException {
        try {
            if (arguments.length != 1) {
                throw new IllegalArgumentException("usage: Audit DIRECTORY");
            }
            new Follower(
                            Channels.open(Settings.required("AAP_SERVER")),
                            Settings.token(),
                            Path.of(arguments[0]))
                    .run();
        } catch (StatusRuntimeException error) {
            System.err.println(
                    "the audit log can't be followed any further: " + Channels.describe(error));
            System.exit(2);
        } catch (IOException | IllegalArgumentException error) {
            System.err.println(error.getMessage());
            System.exit(2);
        }
    }
}
