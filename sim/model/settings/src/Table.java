import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.apache.kafka.common.config.ConfigDef;

/** Every setting that Kafka defines, one a line, with its validator as a word that a program can read. */
final class Table {
    private Table() {}

    static final String HEADER = "scope\tname\ttype\tdefault\tvalidator\timportance\tinternal\tupdate\trule";

    /** Kafka's definitions by scope, in the order of the table. */
    static Map<String, ConfigDef> definitions() throws Exception {
        Map<String, ConfigDef> all = new java.util.LinkedHashMap<>();
        all.put("broker", kafka.server.KafkaConfig.configDef());
        all.put("topic", org.apache.kafka.storage.internals.log.LogConfig.configDefCopy());
        all.put("producer", org.apache.kafka.clients.producer.ProducerConfig.configDef());
        all.put("consumer", org.apache.kafka.clients.consumer.ConsumerConfig.configDef());
        all.put("admin", org.apache.kafka.clients.admin.AdminClientConfig.configDef());
        all.put("group", groups());
        return all;
    }

    private static ConfigDef groups() throws Exception {
        for (Field f : org.apache.kafka.coordinator.group.GroupConfig.class.getDeclaredFields()) {
            if (f.getType() == ConfigDef.class && Modifier.isStatic(f.getModifiers())) {
                f.setAccessible(true);
                return (ConfigDef) f.get(null);
            }
        }
        throw new IllegalStateException("GroupConfig has no ConfigDef");
    }

    static List<String> lines() throws Exception {
        Map<String, String> modes = org.apache.kafka.server.config.DynamicBrokerConfig.dynamicConfigUpdateModes();
        List<String> out = new ArrayList<>(List.of(HEADER));
        for (Map.Entry<String, ConfigDef> scope : definitions().entrySet()) {
            for (ConfigDef.ConfigKey k : new TreeMap<>(scope.getValue().configKeys()).values()) {
                String update = switch (scope.getKey()) {
                    case "broker" -> modes.getOrDefault(k.name, "read-only");
                    case "topic" -> "per-topic";
                    case "group" -> "per-group";
                    default -> "";
                };
                out.add(String.join("\t", scope.getKey(), k.name, k.type.toString(),
                    plain(k.hasDefault() ? String.valueOf(k.defaultValue) : "(required)"),
                    plain(k.validator == null ? "" : k.validator.toString()), k.importance.toString(),
                    String.valueOf(k.internalConfig), update, rule(k.validator)));
            }
        }
        return out;
    }

    private static String plain(String text) {
        return text.replace('\t', ' ').replace('\n', ' ');
    }

    /** What a validator asks for: a word, and what belongs to it. */
    static String rule(ConfigDef.Validator v) throws Exception {
        if (v == null) {
            return "";
        }
        if (v instanceof ConfigDef.Range) {
            return "range " + bound(get(v, "min")) + " " + bound(get(v, "max"));
        }
        if (v instanceof ConfigDef.ValidString) {
            return "in " + words(get(v, "validStrings"));
        }
        if (v instanceof ConfigDef.CaseInsensitiveValidString) {
            return "in-any-case " + words(get(v, "validStrings"));
        }
        if (v instanceof ConfigDef.ValidList) {
            return "list " + ((boolean) get(v, "isEmptyAllowed") ? "empty" : "filled") + " "
                + ((boolean) get(v, "isNullAllowed") ? "null" : "set") + " "
                + words(get(get(v, "validString"), "validStrings"));
        }
        if (v instanceof ConfigDef.NonEmptyString) {
            return "non-empty";
        }
        if (v instanceof ConfigDef.NonNullValidator) {
            return "non-null";
        }
        return "special " + v.getClass().getSimpleName();
    }

    private static String bound(Object number) {
        return number == null ? "-" : String.valueOf(number);
    }

    private static String words(Object list) {
        return ((java.util.Collection<?>) list).stream().map(String::valueOf).collect(Collectors.joining(","));
    }

    private static Object get(Object of, String name) throws Exception {
        Field f = of.getClass().getDeclaredField(name);
        f.setAccessible(true);
        return f.get(of);
    }
}
