import java.nio.file.Files;
import java.nio.file.Path;

/** Writes Kafka's table of settings, and Kafka's answers to what is tried with them. */
public final class Settings {
    private Settings() {}

    public static void main(String[] args) throws Exception {
        Path folder = Path.of(args[0]);
        String version = args[1];
        Files.write(folder.resolve("settings-" + version + ".tsv"), Table.lines());
        Files.write(folder.resolve("answers-" + version + ".tsv"), Answers.lines(folder.resolve("rules.txt")));
        // Kafka's classes leave threads behind.
        System.exit(0);
    }
}
