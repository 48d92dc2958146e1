defmodule PgliteEx.CaseTest.Pool do
  @moduledoc false
  # One server for the modules below, which run side by side.

  def ensure do
    :global.trans({__MODULE__, self()}, fn ->
      if Process.whereis(__MODULE__) == nil do
        parent = self()

        spawn(fn ->
          {:ok, server} = PgliteEx.start_link(binary: PgliteEx.Support.binary(:serve), log: false)
          {:ok, _pool} = PgliteEx.CellPool.start_link(name: __MODULE__, server: server)
          ExUnit.after_suite(fn _result -> PgliteEx.stop(server) end)
          send(parent, :started)
          Process.sleep(:infinity)
        end)

        receive do: (:started -> :ok)
      end
    end)

    :ok
  end
end

for number <- 1..3 do
  defmodule Module.concat(PgliteEx.CaseTest, "Number#{number}") do
    use ExUnit.Case, async: true

    setup_all do
      PgliteEx.CaseTest.Pool.ensure()
    end

    use PgliteEx.Case, pool: PgliteEx.CaseTest.Pool

    for i <- 1..5 do
      test "a table of my own (#{i})", %{pg: pg, cell: cell} do
        assert {:ok, _} = PgliteEx.query(pg, "create table users (name text)")
        assert {:ok, _} = PgliteEx.query(pg, "insert into users values ($1)", [cell])
        assert {:ok, %{rows: [[^cell]]}} = PgliteEx.query(pg, "select name from users")
      end
    end

    test "what is in the context", %{pg: pg, cell: cell, connection_opts: opts} do
      assert opts[:database] == "postgres@#{cell}"
      {:ok, _} = PgliteEx.query(pg, "create table t ()")
      {:ok, server} = PgliteEx.CellPool.server(PgliteEx.CaseTest.Pool)
      assert {:ok, %{rows: []}} = PgliteEx.query(server, "table t", [], cell: cell)
    end
  end
end

defmodule PgliteEx.CaseTest do
  use ExUnit.Case, async: true

  setup_all do
    PgliteEx.CaseTest.Pool.ensure()
  end

  test "without a session" do
    context = PgliteEx.Case.checkout(pool: PgliteEx.CaseTest.Pool, session: false)
    assert Map.keys(context) == [:cell, :connection_opts]
  end

  test "without a pool it says so" do
    assert_raise RuntimeError, ~r/no cell: :down/, fn -> PgliteEx.Case.checkout(pool: :none_of_that_name) end
  end
end
