import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * A recorder in Java: what clients did, in the format of docs/history.md, for {@code klamm check}.
 *
 * <p>{@code java Recorder BOOTSTRAP TOPIC HISTORY} sends a thousand records, reads everything from start to end, and
 * writes the history. Operations are written in the order they happened, under one lock and one clock.
 */
public final class Recorder {
    private static final long RESOLVES_WITHIN_MS = 120_000;

    private final List<String> lines = new ArrayList<>();
    private final long began = System.nanoTime();

    /** Adds an operation; {@code fields} are those of its own, as JSON. */
    synchronized void add(int client, String op, String fields) {
        long at = System.nanoTime() - began;
        lines.add("{\"at\":" + at + ",\"client\":" + client + ",\"incarnation\":1,\"op\":\"" + op + "\"," + fields + "}");
    }

    synchronized void write(Path path) throws IOException {
        List<String> all = new ArrayList<>();
        all.add("{\"klamm-history\":1,\"declared\":{\"recorded\":true},\"settings\":{}}");
        all.addAll(lines);
        Files.write(path, all, StandardCharsets.UTF_8);
    }

    /** A string as JSON. */
    static String json(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c < ' ' || c == '"' || c == '\\' || c > '~') {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        return out.append('"').toString();
    }

    static String source(TopicPartition partition) {
        return "\"source\":{\"topic\":" + json(partition.topic()) + ",\"partition\":" + partition.partition() + "}";
    }

    /** A producer whose sends are written down. A value is the text of its record, and no other record has it. */
    final class RecordingProducer implements AutoCloseable {
        private final int client;
        private final KafkaProducer<String, String> kafka;

        RecordingProducer(int client, String bootstrap) {
            this.client = client;
            Map<String, Object> config = new HashMap<>();
            config.put("bootstrap.servers", bootstrap);
            config.put("acks", "all");
            config.put("enable.idempotence", true);
            config.put("delivery.timeout.ms", (int) RESOLVES_WITHIN_MS);
            config.put("max.block.ms", 0L + RESOLVES_WITHIN_MS);
            kafka = new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
            add(client, "producer", "\"facts\":{\"acks\":\"all\",\"idempotent\":true,\"max_in_flight\":5,\"resolves_within\":"
                    + 2 * RESOLVES_WITHIN_MS * 1_000_000 + "}");
        }

        void send(String topic, String value) {
            // Before the call: the record may be read before the call returns.
            add(client, "send", "\"value\":" + json(value) + ",\"topic\":" + json(topic));
            kafka.send(new ProducerRecord<>(topic, value), (metadata, error) -> {
                String resolved = "\"value\":" + json(value);
                if (error == null) {
                    resolved += ",\"outcome\":\"ok\",\"partition\":" + metadata.partition();
                    // An acknowledgement without an offset has none: -1 would be a lie.
                    resolved += metadata.hasOffset() ? ",\"offset\":" + metadata.offset() : "";
                } else {
                    // Only an error that comes before any append means that the send failed; the rest is unknown.
                    boolean rejected = error instanceof org.apache.kafka.common.errors.RecordTooLargeException
                            || error instanceof org.apache.kafka.common.errors.AuthorizationException;
                    resolved += ",\"outcome\":\"" + (rejected ? "fail" : "info") + "\",\"error\":"
                            + json(error.getClass().getSimpleName());
                }
                add(client, "sent", resolved);
            });
        }

        int partitions(String topic) {
            return kafka.partitionsFor(topic).size();
        }

        @Override
        public void close() {
            kafka.close();
        }
    }

    /** A consumer of assigned partitions whose positions and polls are written down. */
    final class RecordingConsumer implements AutoCloseable {
        private final int client;
        private final KafkaConsumer<String, String> kafka;

        RecordingConsumer(int client, String bootstrap) {
            this.client = client;
            Map<String, Object> config = new HashMap<>();
            config.put("bootstrap.servers", bootstrap);
            config.put("isolation.level", "read_committed");
            config.put("enable.auto.commit", false);
            kafka = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
        }

        /** Reads a partition from its start to its end, and writes it down. To be done when all sends have resolved. */
        long finalRead(TopicPartition partition) {
            kafka.assign(List.of(partition));
            kafka.seekToBeginning(List.of(partition));
            long end = kafka.endOffsets(List.of(partition)).get(partition);
            long start = kafka.position(partition);
            // Told before the first poll: what is passed over from here on must have a reason.
            add(client, "position", source(partition) + ",\"offset\":" + start + ",\"reason\":\"assigned\"");
            long count = 0;
            while (kafka.position(partition) < end) {
                List<String> records = new ArrayList<>();
                for (ConsumerRecord<String, String> record : kafka.poll(Duration.ofMillis(500)).records(partition)) {
                    records.add("{\"offset\":" + record.offset() + ",\"leader_epoch\":" + record.leaderEpoch().orElse(-1)
                            + ",\"value\":" + (record.value() == null ? "null" : json(record.value()))
                            + ",\"timestamp\":" + record.timestamp() + "}");
                }
                count += records.size();
                if (!records.isEmpty()) {
                    add(client, "poll", source(partition) + ",\"isolation\":\"read_committed\",\"records\":["
                            + String.join(",", records) + "]");
                }
            }
            add(client, "final_read", source(partition) + ",\"from\":" + start + ",\"to\":" + kafka.position(partition));
            return count;
        }

        @Override
        public void close() {
            kafka.close();
        }
    }

    public static void main(String[] args) throws IOException {
        String bootstrap = args[0];
        String topic = args[1];
        Recorder recorder = new Recorder();
        int partitions;
        try (RecordingProducer producer = recorder.new RecordingProducer(1, bootstrap)) {
            for (int i = 0; i < 1000; i++) {
                producer.send(topic, "order-" + i);
            }
            partitions = producer.partitions(topic);
        }
        long count = 0;
        try (RecordingConsumer consumer = recorder.new RecordingConsumer(2, bootstrap)) {
            for (int p = 0; p < partitions; p++) {
                count += consumer.finalRead(new TopicPartition(topic, p));
            }
        }
        recorder.write(Path.of(args[2]));
        System.out.println("  kafka-clients: 1000 sent, " + count + " in the final read");
    }
}
