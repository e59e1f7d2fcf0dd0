import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.coordinator.group.GroupConfig;
import org.apache.kafka.storage.internals.log.LogConfig;
import kafka.server.KafkaConfig;

/** Asks the classes of Kafka that check settings at start, or when a request sets them. */
final class Kafka {
    private Kafka() {}

    /** Settings without which Kafka refuses everything, by scope. */
    static Map<String, String> base(String scope) {
        Map<String, String> base = new LinkedHashMap<>();
        switch (scope) {
            case "broker" -> {
                base.put("process.roles", "broker,controller");
                base.put("node.id", "1");
                base.put("controller.quorum.voters", "1@localhost:9093");
                base.put("listeners", "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093");
                base.put("controller.listener.names", "CONTROLLER");
            }
            case "producer" -> {
                base.put("bootstrap.servers", "localhost:9092");
                base.put("key.serializer", "org.apache.kafka.common.serialization.ByteArraySerializer");
                base.put("value.serializer", "org.apache.kafka.common.serialization.ByteArraySerializer");
            }
            case "consumer" -> {
                base.put("bootstrap.servers", "localhost:9092");
                base.put("key.deserializer", "org.apache.kafka.common.serialization.ByteArrayDeserializer");
                base.put("value.deserializer", "org.apache.kafka.common.serialization.ByteArrayDeserializer");
                base.put("group.id", "billing");
            }
            case "admin" -> base.put("bootstrap.servers", "localhost:9092");
            default -> { }
        }
        return base;
    }

    /** What Kafka says of settings: nothing if it takes them, its reason if not. */
    static String refusal(String scope, Map<String, String> settings) {
        try {
            switch (scope) {
                case "broker" -> broker(settings);
                case "topic" -> LogConfig.validate(Map.of(), settings, broker(base("broker")).extractLogConfigMap(), false);
                case "producer" -> producer(settings);
                case "consumer" -> consumer(settings);
                case "admin" -> admin(settings);
                case "group" -> {
                    KafkaConfig broker = broker(base("broker"));
                    GroupConfig.validate(settings, broker.groupCoordinatorConfig(), broker.shareGroupConfig());
                }
                default -> throw new IllegalStateException(scope);
            }
            return null;
        } catch (RuntimeException e) {
            return reason(e);
        }
    }

    private static String reason(Throwable e) {
        String message = String.valueOf(e.getMessage());
        if (message.startsWith("requirement failed: ")) {
            message = message.substring("requirement failed: ".length());
        }
        return message;
    }

    private static KafkaConfig broker(Map<String, String> settings) {
        KafkaConfig c = new KafkaConfig(new HashMap<>(settings), false);
        // What a broker reads of it before it serves.
        c.groupCoordinatorConfig();
        c.shareGroupConfig();
        c.quotaConfig();
        Map<String, Object> log = c.extractLogConfigMap();
        LogConfig.validateBrokerLogConfigValues(log, c.remoteLogManagerConfig().isRemoteStorageSystemEnabled());
        new LogConfig(log);
        return c;
    }

    private static void producer(Map<String, String> settings) {
        ProducerConfig c = new ProducerConfig(new HashMap<>(settings));
        call(KafkaProducer.class, "configureDeliveryTimeout", c, org.slf4j.helpers.NOPLogger.NOP_LOGGER);
    }

    private static void consumer(Map<String, String> settings) {
        ConsumerConfig c = new ConsumerConfig(new HashMap<>(settings));
        if ("classic".equalsIgnoreCase(c.getString("group.protocol")) && c.getString("group.id") != null) {
            new org.apache.kafka.clients.consumer.internals.Heartbeat(
                new org.apache.kafka.clients.GroupRebalanceConfig(
                    c, org.apache.kafka.clients.GroupRebalanceConfig.ProtocolType.CONSUMER),
                Time.SYSTEM);
        }
    }

    private static void admin(Map<String, String> settings) {
        AdminClientConfig c = new AdminClientConfig(new HashMap<>(settings));
        call(org.apache.kafka.clients.admin.KafkaAdminClient.class, "determineBootstrapType", c);
        int timeout = c.getInt("default.api.timeout.ms");
        int request = c.getInt("request.timeout.ms");
        if (timeout < request && c.originals().containsKey("default.api.timeout.ms")) {
            // As `KafkaAdminClient.configureDefaultApiTimeoutMs`, which needs a client.
            throw new org.apache.kafka.common.config.ConfigException(
                "The specified value of default.api.timeout.ms must be no smaller than the value of request.timeout.ms.");
        }
    }

    private static void call(Class<?> of, String name, Object... arguments) {
        for (Method m : of.getDeclaredMethods()) {
            if (m.getName().equals(name)) {
                try {
                    m.setAccessible(true);
                    m.invoke(null, arguments);
                    return;
                } catch (InvocationTargetException e) {
                    throw (RuntimeException) e.getCause();
                } catch (IllegalAccessException e) {
                    throw new IllegalStateException(e);
                }
            }
        }
        throw new IllegalStateException("no method " + name);
    }
}
