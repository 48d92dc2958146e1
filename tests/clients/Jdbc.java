// The JDBC driver, with statements prepared by the server and binary transfer from the first execution on.

import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.*;
import java.time.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.AtomicInteger;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

public class Jdbc extends Checks {
  static void connecting() {
    check("connect: TCP", () -> {
      try (Connection c = connect()) {
        equal(value(c, "select 6 * ?", 7), 42);
        equal(c.getMetaData().getDatabaseMajorVersion(), 18);
      }
    });
    check("connect: no such database", () -> {
      ServerErrorMessage m = fails("3D000", () -> connect("nosuch@" + CELL));
      equal(m.getSeverity(), "FATAL");
    });
    check("connect: no such role", () -> equal(fails("28000", () -> connect(DATABASE, "user", "nobody here")).getMessage(),
        "role \"nobody here\" does not exist"));
    check("connect: another cell is another PostgreSQL", () -> {
      run(a, "create table here (i int)");
      try (Connection c = connect(DATABASE + "-2")) { fails("42P01", () -> run(c, "select * from here")); }
      run(b, "select * from here");
    });
    check("connect: the catalogs as JDBC sees them", () -> {
      try (ResultSet r = a.getMetaData().getColumns(null, "public", "here", "%")) {
        equal(r.next() ? r.getString("COLUMN_NAME") + " " + r.getString("TYPE_NAME") : "nothing", "i int4");
      }
    });
  }

  static void types() {
    byte[] bytes = new byte[1_000_000];
    for (int i = 0; i < bytes.length; i++) bytes[i] = (byte) (i * 7 + i / 251);
    Map<String, Object> values = new LinkedHashMap<>();
    values.put("int4", Integer.MIN_VALUE);
    values.put("int8", Long.MAX_VALUE);
    values.put("numeric", new BigDecimal("12345678901234567890.1234567890"));
    values.put("float8", 0.1);
    values.put("float4", Float.NEGATIVE_INFINITY);
    values.put("bool", false);
    values.put("text", "Žluťoučký κόσμε 日本語 🐘 e\u0301 '\"\\\n".repeat(10_000));
    values.put("bytea", bytes);
    values.put("uuid", UUID.fromString("6f1ed002-ab5d-4a3c-9d0e-0123456789ab"));
    values.put("timestamp", Timestamp.valueOf("2024-02-29 23:59:59.123456"));
    values.put("date", java.sql.Date.valueOf("1899-12-31"));
    values.forEach((type, sent) -> check("types: " + type, () -> {
      for (int i = 0; i < 2; i++) equal(value(a, "select ?::" + type, sent), sent); // the first time it is described
    }));
    check("types: timestamptz", () -> {
      OffsetDateTime sent = OffsetDateTime.parse("1961-04-12T06:07:00.000001Z");
      try (PreparedStatement s = a.prepareStatement("select ?::timestamptz")) {
        s.setObject(1, sent);
        ResultSet r = s.executeQuery();
        r.next();
        equal(r.getObject(1, OffsetDateTime.class), sent);
      }
    });
    check("types: json, jsonb", () -> {
      equal(value(a, "select ?::json::text", "{\"a\": [1, null, \"ü🐘\"]}"), "{\"a\": [1, null, \"ü🐘\"]}");
      equal(value(a, "select ?::jsonb #>> '{a,2}'", "{\"a\":[1,null,\"ü🐘\"]}"), "ü🐘");
    });
    check("types: arrays", () -> {
      Integer[][] matrix = {{1, 2}, {3, null}};
      String[] texts = {"a,b", "\"", "\\", null, "NULL", "", "ü"};
      equal(((java.sql.Array) value(a, "select ?", a.createArrayOf("int4", matrix))).getArray(), matrix);
      equal(((java.sql.Array) value(a, "select ?", a.createArrayOf("text", texts))).getArray(), texts);
    });
    check("types: null", () -> {
      try (PreparedStatement s = a.prepareStatement("select ?::int, ?::text is null")) {
        s.setNull(1, Types.INTEGER);
        s.setString(2, null);
        ResultSet r = s.executeQuery();
        r.next();
        equal(r.getInt(1) == 0 && r.wasNull() && r.getBoolean(2), true);
      }
    });
  }

  static void prepared() {
    check("prepared: a statement, 300 times", () -> {
      try (PreparedStatement s = a.prepareStatement("select ?::int * 2 as twice")) {
        for (int i = 0; i < 300; i++) {
          s.setInt(1, i);
          ResultSet r = s.executeQuery();
          r.next();
          equal(r.getInt("twice"), 2 * i);
        }
        equal(value(a, "select generic_plans + custom_plans from pg_prepared_statements where statement like '%as twice'"), 300L);
      }
    });
    check("prepared: a batch", () -> {
      run(a, "create table batch (i int primary key, t text)");
      try (PreparedStatement s = a.prepareStatement("insert into batch values (?, ?)")) {
        for (int i = 0; i < 5000; i++) {
          s.setInt(1, i);
          s.setString(2, "řádek " + i);
          s.addBatch();
        }
        equal(Arrays.stream(s.executeBatch()).sum(), 5000);
        s.setInt(1, 1);
        s.setString(2, "again");
        fails("23505", s::executeUpdate);
      }
      equal(value(a, "select t from batch where i = ?", 4999), "řádek 4999");
    });
    check("prepared: a portal reads in parts", () -> {
      a.setAutoCommit(false);
      try (PreparedStatement s = a.prepareStatement("select i from generate_series(1, ?) i")) {
        s.setFetchSize(1000);
        s.setInt(1, 25_000);
        long sum = 0;
        for (ResultSet r = s.executeQuery(); r.next(); ) sum += r.getInt(1);
        equal(sum, 25_000L * 25_001 / 2);
      }
      a.commit();
      a.setAutoCommit(true);
    });
  }

  static void copy() {
    check("copy: in and out", () -> {
      run(a, "create table copied (i int primary key, v text)");
      StringBuilder lines = new StringBuilder();
      for (int i = 0; i < 20_000; i++) lines.append(i).append("\tůň ").append(i).append('\n');
      var copy = a.unwrap(PGConnection.class).getCopyAPI();
      equal(copy.copyIn("copy copied from stdin", new StringReader(lines.toString())), 20_000L);
      StringWriter out = new StringWriter();
      copy.copyOut("copy (select * from copied order by i) to stdout", out);
      equal(out.toString(), lines.toString());
    });
    check("copy: a bad row undoes it", () -> {
      var copy = a.unwrap(PGConnection.class).getCopyAPI();
      equal(fails("22P02", () -> copy.copyIn("copy copied from stdin", new StringReader("50000\tgood\nbad\tline\n"))).getWhere(),
          "COPY copied, line 2, column i: \"bad\"");
      equal(value(a, "select count(*) from copied"), 20_000L);
    });
    check("copy: the client gives up", () -> {
      var in = a.unwrap(PGConnection.class).getCopyAPI().copyIn("copy copied from stdin");
      in.writeToCopy("50000\tgood\n".getBytes(), 0, 11);
      in.cancelCopy();
      equal(value(a, "select count(*) from copied"), 20_000L);
    });
  }

  static void errors() {
    check("errors: fields", () -> {
      run(a, "create table strict as select 1 as i");
      run(a, "alter table strict add primary key (i)");
      ServerErrorMessage m = fails("23505", () -> value(a, "insert into strict values (?) returning i", 1));
      equal(List.of(m.getSeverity(), m.getConstraint(), m.getTable(), m.getSchema(), m.getDetail()),
          List.of("ERROR", "strict_pkey", "strict", "public", "Key (i)=(1) already exists."));
      equal(fails("42703", () -> run(a, "select nothing")).getPosition(), 8);
      m = fails("ZZ001", () -> run(a, "do $$ begin raise exception 'own' using errcode = 'ZZ001', detail = 'dé', hint = 'hí'; end $$"));
      equal(List.of(m.getMessage(), m.getDetail(), m.getHint(), m.getWhere()),
          List.of("own", "dé", "hí", "PL/pgSQL function inline_code_block line 1 at RAISE"));
      equal(value(a, "select 1"), 1);
    });
    check("errors: warnings", () -> {
      try (Statement s = a.createStatement()) {
        s.execute("do $$ begin raise warning 'hear %', 'ye'; end $$");
        equal(s.getWarnings().getMessage() + " " + s.getWarnings().getSQLState(), "hear ye 01000");
      }
    });
    check("errors: a session that another one ends", () -> {
      Connection victim = connect();
      later(200, () -> value(a, "select pg_terminate_backend(?)", pid(victim)));
      fails("57P01", () -> run(victim, "select pg_sleep(20)"));
      equal(victim.isClosed(), true);
    });
  }

  static void reset() throws SQLException { run(a, "truncate account; insert into account select i, 100 from generate_series(1, 20) i"); }

  static String amounts(Connection c) throws SQLException {
    return (String) value(c, "select array_agg(amount order by id)::text from account where id <= 2");
  }

  static void give(Connection c, int id, int amount) throws SQLException {
    try (PreparedStatement s = c.prepareStatement("update account set amount = amount + ? where id = ?")) {
      s.setInt(1, amount);
      s.setInt(2, id);
      equal(s.executeUpdate(), 1);
    }
  }

  static void transactions() throws SQLException {
    run(a, "create table account (id int primary key, amount int not null)");
    check("transactions: commit, rollback, savepoint", () -> {
      reset();
      a.setAutoCommit(false);
      give(a, 1, 1);
      equal(amounts(b), "{100,100}");
      Savepoint savepoint = a.setSavepoint("s");
      fails("22012", () -> run(a, "select 1 / 0"));
      fails("25P02", () -> run(a, "select 1"));
      a.rollback(savepoint);
      give(a, 2, 2);
      a.commit();
      give(a, 1, 50);
      a.rollback();
      a.setAutoCommit(true);
      equal(amounts(b), "{101,102}");
    });
    check("transactions: serializable ones that conflict", () -> {
      reset();
      for (Connection c : List.of(a, b)) {
        c.setAutoCommit(false);
        c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
        value(c, "select sum(amount) from account");
      }
      give(a, 1, -100);
      give(b, 2, -100);
      a.commit();
      fails("40001", b::commit);
      rollBack();
      for (Connection c : List.of(a, b)) c.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
      equal(amounts(b), "{0,100}");
    });
    check("transactions: a deadlock", () -> {
      reset();
      CyclicBarrier both = new CyclicBarrier(2);
      List<Callable<String>> cross = List.of(1, 2).stream().<Callable<String>>map(first -> () -> {
        try (Connection c = connect()) {
          run(c, "set deadlock_timeout = '200ms'");
          c.setAutoCommit(false);
          give(c, first, 1);
          both.await(10, TimeUnit.SECONDS);
          give(c, 3 - first, 1);
          c.commit();
          return "done";
        } catch (SQLException error) {
          return error.getSQLState();
        }
      }).toList();
      equal(new TreeSet<>(inThreads(cross)), new TreeSet<>(List.of("40P01", "done")));
      equal(amounts(b), "{101,101}");
    });
  }

  static void notifications() {
    check("notifications: to an idle connection", () -> {
      PGConnection idle = b.unwrap(PGConnection.class);
      run(b, "listen news");
      Thread.sleep(500);
      run(a, "begin; notify news, 'never'; rollback");
      later(300, () -> run(a, "select pg_notify('news', 'žádné'), pg_notify('other', 'x')"));
      PGNotification[] heard = idle.getNotifications(5000);
      equal(heard.length, 1);
      equal(List.of(heard[0].getName(), heard[0].getParameter(), heard[0].getPID()), List.of("news", "žádné", pid(a)));
      run(b, "unlisten news");
      run(a, "notify news, 'late'");
      equal(idle.getNotifications(300).length, 0);
    });
  }

  static void cancel() {
    for (String sql : List.of("select pg_sleep(20)", BUSY)) {
      check("cancel: " + sql, () -> {
        try (Statement s = a.createStatement()) {
          later(300, s::cancel);
          equal(fails("57014", () -> s.execute(sql)).getMessage(), "canceling statement due to user request");
        }
        equal(value(a, "select 1"), 1);
      });
    }
    check("cancel: the driver's own time-out", () -> {
      try (Statement s = a.createStatement()) {
        s.setQueryTimeout(1);
        equal(fails("57014", () -> s.execute(BUSY)).getMessage(), "canceling statement due to user request");
      }
      equal(value(a, "select 1"), 1);
    });
    check("cancel: statement_timeout", () -> {
      try (Connection c = connect(DATABASE, "options", "-c statement_timeout=300")) {
        for (String sql : List.of("select pg_sleep(20)", BUSY))
          equal(fails("57014", () -> run(c, sql)).getMessage(), "canceling statement due to statement timeout");
        equal(value(c, "select 1"), 1);
      }
    });
  }

  static void pool() {
    check("pool: 20 connections move money and lose none", () -> {
      reset();
      BlockingQueue<Connection> pool = new ArrayBlockingQueue<>(20);
      for (int i = 0; i < 20; i++) {
        pool.add(connect());
        pool.stream().skip(i).findFirst().get().setAutoCommit(false);
      }
      Set<Integer> pids = ConcurrentHashMap.newKeySet();
      AtomicInteger commits = new AtomicInteger();
      List<Callable<Void>> moves = new ArrayList<>();
      for (int n = 0; n < 400; n++) {
        int i = n, from = 1 + i % 20, to = 1 + (i * 7 + 3) % 20;
        moves.add(() -> {
          Connection c = pool.take();
          pids.add(pid(c));
          give(c, Math.min(from, to), from < to ? -i : i); // in one order: no deadlock
          give(c, Math.max(from, to), from < to ? i : -i);
          if (i % 5 == 0) c.rollback();
          else { c.commit(); commits.incrementAndGet(); }
          pool.add(c);
          return null;
        });
      }
      inThreads(moves);
      for (Connection c : pool) c.close();
      equal(List.of(commits.get(), pids.size(), value(a, "select sum(amount) from account")), List.of(320, 20, 2000L));
      equal(value(a, "select sum(abs(amount - 100)) > 0 from account"), true);
    });
  }

  public static void main(String[] arguments) throws Exception {
    a = connect();
    b = connect();
    connecting();
    types();
    prepared();
    copy();
    errors();
    transactions();
    notifications();
    cancel();
    pool();
    System.out.println(passed + " passed, " + failed + " failed");
    System.exit(failed > 0 ? 1 : 0);
  }
}
