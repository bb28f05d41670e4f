package aap.client;

import static java.nio.file.StandardCopyOption.ATOMIC_MOVE;
import static java.nio.file.StandardOpenOption.CREATE;
import static java.nio.file.StandardOpenOption.TRUNCATE_EXISTING;
import static java.nio.file.StandardOpenOption.WRITE;

import aap.v1.AuditServiceGrpc;
import aap.v1.AuditServiceOuterClass.AuditEntry;
import aap.v1.AuditServiceOuterClass.WatchAuditRecordsRequest;
import aap.v1.AuditServiceOuterClass.WatchAuditRecordsResponse;

import com.google.gson.Gson;
import com.google.protobuf.Timestamp;
import com.google.protobuf.util.JsonFormat;

import io.grpc.Channel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Iterator;
import java.util.Set;
import java.util.concurrent.ThreadLocalRandom;
import java.util.logging.Logger;

/**
 * Follows the audit log into a file: every record once, in order, whatever is killed in between.
 *
 * <p>Appends records to {@code records.jsonl} in a directory, and keeps its place in {@code
 * place.json}. The place is written after the records that it accounts for. So on a start, what the
 * file has beyond it is cut off, and comes again.
 */
final class Follower {
    /**
     * What repeating the call does not change, so that a person must look. OUT_OF_RANGE: the
     * records to go on with are no longer kept. FAILED_PRECONDITION: a new log has begun.
     */
    private static final Set<Status.Code> FINAL =
            Set.of(
                    Status.Code.DATA_LOSS,
                    Status.Code.FAILED_PRECONDITION,
                    Status.Code.INVALID_ARGUMENT,
                    Status.Code.OUT_OF_RANGE,
                    Status.Code.PERMISSION_DENIED,
                    Status.Code.UNAUTHENTICATED,
                    Status.Code.UNIMPLEMENTED);

    private static final long PAUSE_MILLISECONDS = 1_000;
    private static final Logger LOG = Logger.getLogger(Follower.class.getName());
    private static final JsonFormat.Printer JSON =
            JsonFormat.printer().omittingInsignificantWhitespace();

    private final AuditServiceGrpc.AuditServiceBlockingStub stub;
    private final Path placePath;
    private final FileChannel records;
    private Place place;

    /** How far a follower is: what it would go on with, and how much of its file is good. */
    private record Place(String log_id, long next_sequence, long bytes) {}

    Follower(Channel channel, String token, Path directory) throws IOException {
        stub =
                AuditServiceGrpc.newBlockingStub(channel)
                        .withCallCredentials(Channels.bearer(token));
        Files.createDirectories(
                directory,
                PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
        placePath = directory.resolve("place.json");
        place =
                Files.exists(placePath)
                        ? new Gson().fromJson(Files.readString(placePath), Place.class)
                        : new Place("", 0, 0);
        Path path = directory.resolve("records.jsonl");
        records = FileChannel.open(path, CREATE, WRITE);
        if (records.size() < place.bytes()) {
            throw new IOException(path + " is shorter than " + placePath + " says");
        }
        records.truncate(place.bytes());
        records.position(place.bytes());
    }

    /** Follows for ever; throws where only a person can help. */
    void run() throws IOException, InterruptedException {
        while (true) {
            try {
                Iterator<WatchAuditRecordsResponse> watch = stub.watchAuditRecords(request());
                while (watch.hasNext()) {
                    take(watch.next());
                }
            } catch (StatusRuntimeException error) {
                if (FINAL.contains(error.getStatus().getCode())) {
                    throw error;
                }
                LOG.warning("the watch has ended: " + Channels.describe(error));
            }
            Thread.sleep(
                    ThreadLocalRandom.current()
                            .nextLong(PAUSE_MILLISECONDS / 2, PAUSE_MILLISECONDS * 3 / 2));
        }
    }

    private WatchAuditRecordsRequest request() {
        WatchAuditRecordsRequest.Builder request =
                WatchAuditRecordsRequest.newBuilder().setLogId(place.log_id());
        if (place.log_id().isEmpty()) {
            // The first record that is kept.
            return request.setFromTime(Timestamp.getDefaultInstance()).build();
        }
        return request.setFromSequence(place.next_sequence()).build();
    }

    private void take(WatchAuditRecordsResponse message) throws IOException {
        long from = message.getScanned().getFrom();
        if (!place.log_id().isEmpty() && from != place.next_sequence()) {
            throw new IOException(
                    "the server goes on with " + from + ", not " + place.next_sequence());
        }
        for (AuditEntry entry : message.getEntriesList()) {
            // A record that is damaged on the server's disk has its place here all the same.
            write(records, JSON.print(entry) + "\n");
        }
        if (message.getEntriesCount() > 0) {
            records.force(false);
        }
        keep(
                new Place(
                        message.getLogId(),
                        message.getScanned().getThrough() + 1,
                        records.position()));
    }

    /** Replaces the file of the place, so that there is always a whole one. */
    private void keep(Place next) throws IOException {
        if (next.equals(place)) {
            return;
        }
        Path path = placePath.resolveSibling("place.json.new");
        try (FileChannel file = FileChannel.open(path, CREATE, WRITE, TRUNCATE_EXISTING)) {
            write(file, new Gson().toJson(next));
            file.force(true);
        }
        Files.move(path, placePath, ATOMIC_MOVE);
        place = next;
    }

    private static void write(FileChannel file, String text) throws IOException {
        ByteBuffer bytes = StandardCharsets.UTF_8.encode(text);
        while (bytes.hasRemaining()) {
            file.write(bytes);
        }
    }
}
