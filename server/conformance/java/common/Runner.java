import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Runs named scenarios in one JVM. Each line on standard input is "ID SCENARIO key=value …"; each line on standard
 * output is a JSON object with "run": ID and "event". The last event of a run is "end" ("ok", "error"). The process
 * ends with its standard input, so it never outlives the test that started it.
 */
public final class Runner {
    private static final PrintStream OUT =
        new PrintStream(new FileOutputStream(FileDescriptor.out), false, StandardCharsets.UTF_8);

    public static void main(String[] arguments) throws Exception {
        System.setOut(System.err); // clients print to the console; that must not mix with our lines
        Map<String, Scenario> scenarios = new LinkedHashMap<>();
        Samples.register(scenarios);
        Sending.register(scenarios);
        Consuming.register(scenarios);
        Pulling.register(scenarios);
        Asking.register(scenarios);
        Filtering.register(scenarios);
        Refusing.register(scenarios);
        Transactions.register(scenarios);
        Later.register(scenarios);
        Returning.register(scenarios);
        Starting.register(scenarios);
        Naming.register(scenarios);
        Watching.register(scenarios);
        Admin.register(scenarios);
        Mixed.register(scenarios);
        Overseeing.register(scenarios);
        Inspecting.register(scenarios);
        Dialect.register(scenarios);
        say("{\"run\":0,\"event\":\"ready\"}");
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            String[] words = line.split(" ");
            Map<String, String> settings = new LinkedHashMap<>();
            for (int i = 2; i < words.length; i++) {
                int equals = words[i].indexOf('=');
                settings.put(words[i].substring(0, equals), words[i].substring(equals + 1));
            }
            Thread thread = new Thread(() -> run(words[0], scenarios.get(words[1]), settings), "run-" + words[0]);
            thread.setDaemon(true);
            thread.start();
        }
        Runtime.getRuntime().halt(0);
    }

    private static void run(String id, Scenario scenario, Map<String, String> settings) {
        Run run = new Run(id, settings);
        String error = null;
        try {
            if (scenario == null) {
                throw new IllegalArgumentException("no such scenario");
            }
            scenario.play(run);
        } catch (Throwable e) {
            error = Run.trace(e);
        }
        run.close();
        run.emit("end", "ok", error == null, "error", error == null ? "" : error);
    }

    static void say(String line) {
        synchronized (OUT) {
            OUT.println(line);
            OUT.flush();
        }
    }

    interface Scenario {
        void play(Run run) throws Exception;
    }
}
