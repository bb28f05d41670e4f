package aap.client;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** What the programs are told by their environment; {@code ../README.md} has the list. */
final class Settings {
    private Settings() {}

    /** The value of a variable that must be there. */
    static String required(String name) {
        String value = optional(name, "");
        if (value.isEmpty()) {
            throw new IllegalArgumentException(name + " is not set");
        }
        return value;
    }

    static String optional(String name, String otherwise) {
        return System.getenv().getOrDefault(name, otherwise);
    }

    /** The account and region that everything here is about. */
    static String location() {
        return "accounts/" + required("AAP_ACCOUNT") + "/regions/" + required("AAP_REGION");
    }

    /** The name of the access point that the application is. */
    static String accessPoint() {
        return location() + "/accessPoints/" + required("AAP_ACCESS_POINT");
    }

    /** A caller's bearer token, from a file or from the environment itself. */
    static String token() throws IOException {
        String path = optional("AAP_TOKEN_FILE", "");
        return path.isEmpty() ? required("AAP_TOKEN") : line(path);
    }

    /** What is in a file of one line. */
    static String line(String path) throws IOException {
        return Files.readString(Path.of(path)).strip();
    }
}
