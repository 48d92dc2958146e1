defmodule PgliteEx.P1PgsqlTest do
  @moduledoc "A driver of the BEAM that was not made for us: Debian's erlang-p1-pgsql, which speaks TCP."
  use ExUnit.Case, async: true

  import PgliteEx.Support

  @moduletag :p1_pgsql
  @compile {:no_warn_undefined, :pgsql}

  setup_all do
    %{server: server!(listen: :tcp)}
  end

  setup %{server: server} do
    %{db: connect(server, "p1-#{System.unique_integer([:positive])}")}
  end

  defp connect(server, cell) do
    opts = PgliteEx.connection_opts(server, cell: cell)

    {:ok, db} =
      :pgsql.connect(
        host: to_charlist(opts[:hostname]),
        port: opts[:port],
        database: to_charlist(opts[:database]),
        user: to_charlist(opts[:username]),
        password: ~c"",
        as_binary: true
      )

    on_exit(fn ->
      try do
        :pgsql.terminate(db)
      catch
        :exit, _gone -> :ok
      end
    end)

    db
  end

  test "queries", %{db: db} do
    assert {:ok, [{"SELECT 1", [{"a", _, _, _, _, _, _} | _], [["1", "x", :null]]}]} =
             :pgsql.squery(db, "select 1 as a, 'x', null")

    assert {:ok, ["CREATE TABLE", "INSERT 0 2"]} =
             :pgsql.squery(db, "create table t (a int); insert into t values (1), (2)")

    assert {:ok, [{"SELECT 2", _, [["1"], ["2"]]}]} = :pgsql.squery(db, "select a from t order by a")
  end

  test "prepared statements", %{db: db} do
    assert {:ok, :idle, [:int4], [{"twice", :int4}]} =
             :pgsql.prepare(db, ~c"double", ~c"select $1::int * 2 as twice")

    assert {:ok, {"SELECT 1", [[int4: "42"]]}} = :pgsql.execute(db, ~c"double", [21])
    assert {:ok, {"SELECT 1", [[int4: "-2"]]}} = :pgsql.execute(db, ~c"double", [~c"-1"])
    assert {:error, fields} = :pgsql.execute(db, ~c"double", [~c"x"])
    assert fields[:code] == "22P02"
    assert {:ok, {"SELECT 1", [[int4: "0"]]}} = :pgsql.execute(db, ~c"double", [0])
    assert :ok = :pgsql.unprepare(db, ~c"double")
  end

  test "errors, and the session goes on", %{db: db} do
    assert {:ok, [error: fields]} = :pgsql.squery(db, "select * from nothing_of_that_name")
    assert inspect(fields) =~ "42P01"
    assert {:ok, [{"SELECT 1", _, [["1"]]}]} = :pgsql.squery(db, "select 1")
  end

  test "transactions", %{db: db, server: server} do
    {:ok, _} = :pgsql.squery(db, "create table t (a int)")
    assert {:ok, ["BEGIN"]} = :pgsql.squery(db, "begin")
    assert {:ok, ["INSERT 0 1"]} = :pgsql.squery(db, "insert into t values (1)")
    assert {:ok, ["ROLLBACK"]} = :pgsql.squery(db, "rollback")
    assert {:ok, [{_, _, [["0"]]}]} = :pgsql.squery(db, "select count(*) from t")
    assert {:ok, ["BEGIN"]} = :pgsql.squery(db, "begin")
    assert {:ok, ["INSERT 0 1"]} = :pgsql.squery(db, "insert into t values (2)")
    assert {:ok, ["COMMIT"]} = :pgsql.squery(db, "commit")
    assert {:ok, [{_, _, [["1"]]}]} = :pgsql.squery(db, "select count(*) from t")
    assert {:ok, [{_, _, [[name]]}]} = :pgsql.squery(db, "select current_database()")
    assert name == "postgres"
    assert {:ok, %{status: :ready}} = PgliteEx.info(server)
  end

  test "cells apart", %{db: db, server: server} do
    {:ok, _} = :pgsql.squery(db, "create table only_here ()")
    other = connect(server, "p1-other")
    assert {:ok, [error: _]} = :pgsql.squery(other, "table only_here")
  end

  test "a megabyte", %{db: db} do
    text = String.duplicate("x", 1_000_000)
    assert {:ok, [{_, _, [["1000000"]]}]} = :pgsql.squery(db, "select length('#{text}')")
    assert {:ok, [{_, _, [[^text]]}]} = :pgsql.squery(db, "select repeat('x', 1000000)")
  end
end
