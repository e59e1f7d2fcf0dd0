import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Kafka's own clients under `kills.py`: an idempotent producer, a member of a classic group, a member of a KIP-848 group and
 * an admin client. {@code java Clients BOOTSTRAP TOPIC CLIENT RATE RESOLVES_WITHIN_MS}.
 *
 * <p>Each thing that happens is a line on standard output; instants are of the monotonic clock, which Python reads too:
 * {@code send AT VALUE}, {@code sent AT VALUE PARTITION OFFSET}, {@code unknown AT VALUE ERROR}, {@code read AT MEMBER VALUE},
 * {@code topic AT NAME}, {@code idle} (no send is open). Standard input has commands: {@code topic NAME} creates a topic,
 * {@code stop} ends the sends, {@code end} ends everything.
 */
public final class Clients {
    private static String bootstrap;

    static synchronized void say(String line) {
        System.out.println(line);
    }

    static Map<String, Object> config(Object... pairs) {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", bootstrap);
        for (int i = 0; i < pairs.length; i += 2) {
            config.put((String) pairs[i], pairs[i + 1]);
        }
        return config;
    }

    static void produce(String topic, long client, int rate, int within, AtomicBoolean stop) {
        Map<String, Object> config = config("acks", "all", "enable.idempotence", true, "linger.ms", 2,
                "delivery.timeout.ms", within, "max.block.ms", (long) within);
        try (KafkaProducer<String, String> kafka =
                new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            for (long index = 0; !stop.get(); index++) {
                String value = Long.toString(client << 44 | index);
                say("send " + System.nanoTime() + " " + value);
                kafka.send(new ProducerRecord<>(topic, value), (metadata, error) -> say(error == null
                        ? "sent " + System.nanoTime() + " " + value + " " + metadata.partition() + " "
                                + (metadata.hasOffset() ? metadata.offset() : "-")
                        : "unknown " + System.nanoTime() + " " + value + " " + error.getClass().getSimpleName()));
                pause(1000 / rate);
            }
            kafka.flush();
        }
        say("idle");
    }

    static void consume(String topic, String member, AtomicBoolean end, Object... settings) {
        Map<String, Object> config = config(settings);
        config.put("auto.offset.reset", "earliest");
        try (KafkaConsumer<String, String> kafka =
                new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer())) {
            kafka.subscribe(List.of(topic));
            while (!end.get()) {
                for (ConsumerRecord<String, String> record : kafka.poll(Duration.ofMillis(200))) {
                    say("read " + System.nanoTime() + " " + member + " " + record.value());
                }
            }
        }
    }

    /** Asks until the topic exists. */
    static void create(Admin admin, String name) throws InterruptedException {
        while (true) {
            try {
                if (admin.listTopics().names().get().contains(name)) {
                    say("topic " + System.nanoTime() + " " + name);
                    return;
                }
                admin.createTopics(List.of(new NewTopic(name, 1, (short) 3))).all().get();
            } catch (ExecutionException refused) {
                Thread.sleep(100);
            }
        }
    }

    static void pause(long ms) {
        try {
            Thread.sleep(ms);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    static Thread started(Runnable work) {
        Thread thread = new Thread(work);
        // A client that ends by an error of its own is a finding: the process says so by its end.
        thread.setUncaughtExceptionHandler((t, error) -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
        });
        thread.start();
        return thread;
    }

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        String topic = args[1];
        long client = Long.parseLong(args[2]);
        int rate = Integer.parseInt(args[3]);
        int within = Integer.parseInt(args[4]);
        AtomicBoolean stop = new AtomicBoolean();
        AtomicBoolean end = new AtomicBoolean();
        List<Thread> threads = List.of(
                started(() -> produce(topic, client, rate, within, stop)),
                started(() -> consume(topic, "java-classic", end, "group.id", "classic", "session.timeout.ms", 6000,
                        "heartbeat.interval.ms", 1000, "partition.assignment.strategy",
                        "org.apache.kafka.clients.consumer.RangeAssignor")),
                started(() -> consume(topic, "java-modern", end, "group.id", "modern", "group.protocol", "consumer")));
        try (Admin admin = Admin.create(config());
                BufferedReader commands = new BufferedReader(new InputStreamReader(System.in))) {
            for (String line = commands.readLine(); line != null && !line.equals("end"); line = commands.readLine()) {
                if (line.equals("stop")) {
                    stop.set(true);
                } else {
                    create(admin, line.substring("topic ".length()));
                }
            }
        }
        stop.set(true);
        end.set(true);
        for (Thread thread : threads) {
            thread.join();
        }
    }
}
