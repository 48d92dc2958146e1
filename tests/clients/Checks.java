// What Jdbc.java checks with: connections, checks that are counted, and errors that must come.

import java.sql.*;
import java.util.*;
import java.util.concurrent.*;
import org.postgresql.PGConnection;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

class Checks {
  interface Body { void run() throws Exception; }

  static final String DATABASE = System.getenv("PGDATABASE"), CELL = DATABASE.split("@")[1];
  static final String BUSY = "select count(*) from (select generate_series(1, 2000000000)) s";
  static int passed, failed;
  static Connection a, b;

  static void check(String name, Body body) {
    try {
      body.run();
      passed++;
      System.out.println("ok " + name);
    } catch (Throwable error) {
      failed++;
      System.out.println("FAILED " + name + ": " + error.toString().replace('\n', '|'));
      rollBack();
    }
  }

  static void rollBack() { // so that a check that fails leaves no transaction to the next
    for (Connection c : List.of(a, b)) {
      try {
        if (!c.getAutoCommit()) c.rollback();
        c.setAutoCommit(true);
      } catch (SQLException ignored) { } // the next check says so
    }
  }

  static void equal(Object got, Object expected) {
    if (!Objects.deepEquals(got, expected)) throw new AssertionError(show(got) + " instead of " + show(expected));
  }

  static String show(Object o) {
    String text = o instanceof Object[] array ? Arrays.deepToString(array) : String.valueOf(o);
    return text.substring(0, Math.min(200, text.length()));
  }

  static ServerErrorMessage fails(String sqlstate, Body body) throws Exception {
    try {
      body.run();
    } catch (PSQLException error) {
      if (!sqlstate.equals(error.getSQLState())) throw error;
      return error.getServerErrorMessage();
    }
    throw new AssertionError("no error, expected " + sqlstate);
  }

  static Connection connect(String database, String... more) throws SQLException {
    Properties p = new Properties();
    p.setProperty("user", "postgres");
    p.setProperty("prepareThreshold", "-1"); // binary from the first execution on
    p.setProperty("options", "-c statement_timeout=" + System.getenv("CLIENTS_STATEMENT_MS"));
    for (int i = 0; i < more.length; i += 2) p.setProperty(more[i], more[i + 1]);
    return DriverManager.getConnection("jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + database, p);
  }

  static Connection connect() throws SQLException { return connect(DATABASE); }

  static void run(Connection c, String sql) throws SQLException {
    try (Statement s = c.createStatement()) { s.execute(sql); }
  }

  /** The first value. */
  static Object value(Connection c, String sql, Object... parameters) throws SQLException {
    try (PreparedStatement s = c.prepareStatement(sql)) {
      for (int i = 0; i < parameters.length; i++) s.setObject(i + 1, parameters[i]);
      try (ResultSet r = s.executeQuery()) {
        r.next();
        return r.getObject(1);
      }
    }
  }

  static int pid(Connection c) throws SQLException { return c.unwrap(PGConnection.class).getBackendPID(); }

  static void later(int delayMs, Body body) {
    CompletableFuture.runAsync(() -> {
      try {
        body.run();
      } catch (Exception error) {
        throw new CompletionException(error);
      }
    }, CompletableFuture.delayedExecutor(delayMs, TimeUnit.MILLISECONDS));
  }

  /** What they return; throws what one of them throws. */
  static <T> List<T> inThreads(List<Callable<T>> bodies) throws Exception {
    ExecutorService threads = Executors.newFixedThreadPool(20);
    try {
      List<T> results = new ArrayList<>();
      for (Future<T> f : threads.invokeAll(bodies, 30, TimeUnit.SECONDS)) results.add(f.get());
      return results;
    } finally {
      threads.shutdownNow();
    }
  }
}
