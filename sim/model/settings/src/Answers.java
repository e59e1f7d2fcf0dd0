import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.apache.kafka.common.config.ConfigDef;

/**
 * What Kafka answers, one try a line: scope, `taken` or Kafka's reason, then the settings over the scope's base.
 * Every setting with its default, at each bound, one step beyond, of a wrong type and empty; then the tries of rules.txt.
 */
final class Answers {
    private Answers() {}

    static List<String> lines(Path rules) throws Exception {
        List<String> out = new ArrayList<>();
        for (Map.Entry<String, ConfigDef> scope : Table.definitions().entrySet()) {
            out.add(line("base", scope.getKey(), "", Kafka.base(scope.getKey())));
            for (ConfigDef.ConfigKey k : new TreeMap<>(scope.getValue().configKeys()).values()) {
                for (String value : values(k)) {
                    out.add(ask(scope.getKey(), Map.of(k.name, value)));
                }
            }
        }
        for (String rule : Files.readAllLines(rules)) {
            if (rule.isBlank() || rule.startsWith("#")) {
                continue;
            }
            // scope | key=value | key=value
            String[] parts = rule.split("\\s*\\|\\s*");
            Map<String, String> settings = new LinkedHashMap<>();
            for (int i = 1; i < parts.length; i++) {
                int at = parts[i].indexOf('=');
                settings.put(parts[i].substring(0, at), parts[i].substring(at + 1));
            }
            out.add(ask(parts[0].trim(), settings));
        }
        return out;
    }

    private static String ask(String scope, Map<String, String> settings) {
        Map<String, String> all = new LinkedHashMap<>(Kafka.base(scope));
        // A value of a single dash takes the base's setting away.
        settings.forEach((k, v) -> {
            if (v.equals("-")) {
                all.remove(k);
            } else {
                all.put(k, v);
            }
        });
        String refusal = Kafka.refusal(scope, all);
        return line(scope, refusal == null ? "taken" : "refused", refusal == null ? "" : refusal, settings);
    }

    private static String line(String scope, String verdict, String reason, Map<String, String> settings) {
        List<String> cells = new ArrayList<>(List.of(scope, verdict, plain(reason)));
        settings.forEach((k, v) -> cells.add(k + "=" + plain(v)));
        return String.join("\t", cells);
    }

    private static String plain(String text) {
        return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r");
    }

    private static Set<String> values(ConfigDef.ConfigKey k) throws Exception {
        Set<String> out = new LinkedHashSet<>();
        if (k.hasDefault() && k.defaultValue != null) {
            out.add(text(k.defaultValue));
        }
        out.add("");
        switch (k.type) {
            case BOOLEAN -> out.addAll(List.of("true", "TRUE", " False ", "yes", "1"));
            case SHORT -> numbers(out, k, Short.MIN_VALUE, Short.MAX_VALUE);
            case INT -> numbers(out, k, Integer.MIN_VALUE, Integer.MAX_VALUE);
            case LONG -> numbers(out, k, Long.MIN_VALUE, Long.MAX_VALUE);
            case DOUBLE -> {
                out.addAll(List.of("0", "0.25", "1", "-1", "2", "half", "1e-3", "NaN"));
                if (k.validator != null) {
                    for (String bound : Table.rule(k.validator).substring("range ".length()).split(" ")) {
                        double b = Double.parseDouble(bound);
                        out.addAll(List.of(bound, String.valueOf(b - 0.5), String.valueOf(b + 0.5)));
                    }
                }
            }
            case LIST -> out.addAll(List.of("a", "a, b", "a,a", "a,,b", ","));
            case CLASS -> out.addAll(List.of("no.such.Class", "java.lang.String"));
            case STRING, PASSWORD -> out.addAll(List.of("anything", "${env:VALUE}"));
            default -> throw new IllegalStateException(k.name);
        }
        for (String word : k.validator == null ? new String[0] : Table.rule(k.validator).replaceFirst("^(in-any-case|in|list \\w+ \\w+) ", "").split(",")) {
            if (k.type == ConfigDef.Type.STRING || k.type == ConfigDef.Type.LIST) {
                if (!word.isEmpty() && !word.contains(" ")) {
                    out.addAll(List.of(word, word.toUpperCase(java.util.Locale.ROOT), word.toLowerCase(java.util.Locale.ROOT)));
                }
            }
        }
        return out;
    }

    private static void numbers(Set<String> out, ConfigDef.ConfigKey k, long least, long most) throws Exception {
        out.addAll(List.of("0", "1", "-1", " 7 ", "+7", "x", "1.5", "0x10", "1_000"));
        out.add(String.valueOf(least));
        out.add(String.valueOf(most));
        java.math.BigInteger beyond = java.math.BigInteger.valueOf(most).add(java.math.BigInteger.ONE);
        out.add(beyond.toString());
        String rule = Table.rule(k.validator);
        if (rule.startsWith("range ")) {
            for (String bound : rule.substring("range ".length()).split(" ")) {
                if (!bound.equals("-")) {
                    java.math.BigInteger b = new java.math.BigInteger(bound);
                    out.addAll(List.of(bound, b.subtract(java.math.BigInteger.ONE).toString(), b.add(java.math.BigInteger.ONE).toString()));
                }
            }
        }
    }

    private static String text(Object value) {
        if (value instanceof List<?> list) {
            return list.stream().map(Answers::text).collect(Collectors.joining(","));
        }
        return value instanceof Class<?> c ? c.getName() : String.valueOf(value);
    }
}
