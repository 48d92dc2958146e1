defmodule PgliteEx.QueryTest do
  use ExUnit.Case, async: true

  import PgliteEx.Support
  alias PgliteEx.{Bridge, Error, Result}

  setup_all do
    %{server: server!()}
  end

  setup %{server: server} do
    %{pg: bridge!(server: server, cell: "new")}
  end

  test "without parameters", %{server: server} do
    assert {:ok, %Result{command: "SELECT", num_rows: 1, columns: ["a", "b"], rows: [[1, "x"]]}} =
             PgliteEx.query(server, "select 1 as a, 'x' as b")
  end

  test "values of all kinds come back", %{pg: pg} do
    sql = """
    select null::int, true, false, 32767::int2, -5::int4, 9223372036854775807::int8, 1.5::float4, -2.5e300::float8,
      'NaN'::float8, 'Infinity'::float8, '-Infinity'::float4, 1e15::float8, '\\x00ff'::bytea, 'héllo', 1.10::numeric,
      '{"a": 1}'::json, date '2026-01-31', array[1,2], 42::oid, ''
    """

    assert {:ok, %{rows: [row]}} = PgliteEx.query(pg, sql)

    assert row == [
             nil,
             true,
             false,
             32_767,
             -5,
             9_223_372_036_854_775_807,
             1.5,
             -2.5e300,
             :NaN,
             :inf,
             :"-inf",
             1.0e15,
             <<0, 255>>,
             "héllo",
             "1.10",
             ~s({"a": 1}),
             "2026-01-31",
             "{1,2}",
             42,
             ""
           ]
  end

  test "values of all kinds go there", %{pg: pg} do
    values = [
      {"int", nil, nil},
      {"text", "héllo", "héllo"},
      {"int", "42", 42},
      {"bigint", -9_223_372_036_854_775_808, -9_223_372_036_854_775_808},
      {"float8", 0.1, 0.1},
      {"float8", :NaN, :NaN},
      {"float8", :"-inf", :"-inf"},
      {"bool", true, true},
      {"bytea", {:bytea, <<0, 1, 255>>}, <<0, 1, 255>>},
      {"date", ~D[2026-01-31], "2026-01-31"},
      {"time", ~T[12:34:56.789], "12:34:56.789"},
      {"timestamp", ~N[2026-01-31 12:34:56], "2026-01-31 12:34:56"},
      {"timestamptz = '2026-01-31 13:00+01'", ~U[2026-01-31 12:00:00Z], true}
    ]

    for {type, sent, wanted} <- values do
      assert {:ok, %{rows: [[^wanted]]}} = PgliteEx.query(pg, "select $1::#{type}", [sent])
    end
  end

  test "commands say what they did", %{pg: pg} do
    assert {:ok, %Result{command: "CREATE TABLE", num_rows: nil, columns: nil, rows: nil}} =
             PgliteEx.query(pg, "create table t (a int)")

    assert {:ok, %{command: "INSERT", num_rows: 2}} = PgliteEx.query(pg, "insert into t values (1), (2)")

    assert {:ok, %{command: "UPDATE", num_rows: 1}} =
             PgliteEx.query(pg, "update t set a = 3 where a = $1", [1])

    assert {:ok, %{command: "DELETE", num_rows: 2, columns: ["a"], rows: [_, _]}} =
             PgliteEx.query(pg, "delete from t returning a")

    assert {:ok, %Result{command: nil, rows: nil}} = PgliteEx.query(pg, "")
  end

  test "of several statements the last one counts", %{pg: pg} do
    assert {:ok, %{command: "SELECT", rows: [[3]]}} = PgliteEx.query(pg, "select 1, 2; select 3")
    assert {:error, %Error{code: "22012"}} = PgliteEx.query(pg, "select 1; select 1/0; select 2")
  end

  test "100 000 rows", %{pg: pg} do
    assert {:ok, %{num_rows: 100_000, rows: rows}} =
             PgliteEx.query(pg, "select i, 'row ' || i from generate_series(1, 100000) i")

    assert List.last(rows) == [100_000, "row 100000"]
  end

  test "an error has PostgreSQL's fields, and the session goes on", %{pg: pg} do
    assert {:error, %Error{code: "42P01", severity: "ERROR", message: message, fields: %{position: "15"}}} =
             PgliteEx.query(pg, "select * from nothing_of_that_name")

    assert message =~ "nothing_of_that_name"
    assert {:error, %Error{code: "22P02"}} = PgliteEx.query(pg, "select $1::int", ["x"])
    assert {:error, %Error{code: "42601"}} = PgliteEx.query(pg, "select $1; select $2", [1, 2])
    assert {:ok, %{rows: [[1]]}} = PgliteEx.query(pg, "select 1")
  end

  test "transactions", %{pg: pg} do
    {:ok, _} = PgliteEx.query(pg, "create table t (a int)")
    {:ok, _} = PgliteEx.query(pg, "begin; insert into t values (1)")
    assert {:error, %Error{}} = PgliteEx.query(pg, "select nonsense")
    assert {:error, %Error{code: "25P02"}} = PgliteEx.query(pg, "select 1")
    assert {:ok, %{command: "ROLLBACK"}} = PgliteEx.query(pg, "commit")
    assert {:ok, %{rows: [[0]]}} = PgliteEx.query(pg, "select count(*) from t")
  end

  test "what can't be sent is refused before", %{pg: pg} do
    assert {:error, %Error{code: "22023", message: message}} =
             PgliteEx.query(pg, "select $1, $2", [1, %{a: 1}])

    assert message =~ "parameter $2"
    assert {:error, %Error{code: "22021"}} = PgliteEx.query(pg, "select 'a\0b'")
    assert {:error, %Error{code: "22021"}} = PgliteEx.query(pg, "select $1", ["a\0b"])
    assert {:error, %Error{code: "54000"}} = PgliteEx.query(pg, "select 1", List.duplicate(1, 65_536))
    assert {:ok, _} = PgliteEx.query(pg, "select 1")
  end

  test "COPY: out as rows, in is refused", %{pg: pg} do
    {:ok, _} = PgliteEx.query(pg, "create table t (a int); insert into t values (1), (2)")

    assert {:ok, %{command: "COPY", num_rows: 2, rows: [["1\n"], ["2\n"]]}} =
             PgliteEx.query(pg, "copy t to stdout")

    assert {:error, %Error{code: "57014", message: message}} = PgliteEx.query(pg, "copy t from stdin")
    assert message =~ "exec_protocol_raw"
    assert {:ok, %{rows: [[2]]}} = PgliteEx.query(pg, "select count(*) from t")
  end

  test "a time-out cancels the query", %{pg: pg} do
    start = System.monotonic_time(:millisecond)
    assert {:error, :timeout} = PgliteEx.query(pg, "select pg_sleep(30)", [], timeout: 100)
    assert {:ok, %{rows: [[1]]}} = PgliteEx.query(pg, "select 1")
    assert System.monotonic_time(:millisecond) - start < 5_000
    assert {:ok, %{restarts: 0}} = Bridge.info(pg)
  end

  test "on a server: cells, databases and roles", %{server: server} do
    {:ok, _} = PgliteEx.query(server, "create role ann superuser login", [], cell: "query")
    {:ok, _} = PgliteEx.query(server, "create database zoo", [], cell: "query")

    assert {:ok, %{rows: [["zoo", "ann"]]}} =
             PgliteEx.query(server, "select current_database(), current_user", [],
               cell: "query",
               database: "zoo",
               username: "ann"
             )

    assert {:error, %Error{severity: "FATAL", code: "3D000"}} =
             PgliteEx.query(server, "select 1", [], cell: "query", database: "none")

    assert {:error, %Error{code: "28000"}} =
             PgliteEx.query(server, "select 1", [], username: "nobody-of-that-name")

    assert_raise ArgumentError, ~r/a cell's name/, fn ->
      PgliteEx.query(server, "select 1", [], cell: "a@b")
    end
  end

  test "a server that isn't there is down" do
    assert {:error, :down} = PgliteEx.query(:nobody_of_that_name, "select 1")
    pid = spawn(fn -> :ok end)
    assert {:error, :down} = PgliteEx.query(pid, "select 1")
  end
end
