defmodule PgliteEx.CellsTest do
  use ExUnit.Case, async: true

  import PgliteEx.Support
  alias PgliteEx.{CellPool, Error}

  describe "commands, by a stand-in:" do
    setup do
      log = Path.join(folder(), "cell-log-#{System.unique_integer([:positive])}")
      server = server!(binary: stand_in([{"STAND_IN_LOG", log}]))
      %{server: server, said: fn -> said(log) end}
    end

    defp said(log) do
      case File.read(log) do
        {:ok, lines} -> String.split(lines, "\n", trim: true)
        {:error, :enoent} -> []
      end
    end

    test "are called as pgcell wants them", %{server: server, said: said} do
      dir = PgliteEx.connection_opts(server)[:socket_dir]
      assert :ok = PgliteEx.create_cell(server, "a")
      assert :ok = PgliteEx.create_cell(server, "b", template: "there")
      assert :ok = PgliteEx.clone(server, "there", "c")
      assert :ok = PgliteEx.drop(server, "there")
      assert :ok = PgliteEx.drop(server, ["there", "c"])
      assert :ok = PgliteEx.drop(server, [])

      assert {:ok, [%{name: "there", state: "running", sessions: 2, memory: 3_145_728}]} =
               PgliteEx.list_cells(server)

      assert said.() == [
               ~s(["create", "a", "--socket-dir", "#{dir}"]),
               ~s(["create", "b", "--template", "there", "--socket-dir", "#{dir}"]),
               ~s(["clone", "there", "c", "--socket-dir", "#{dir}"]),
               ~s(["drop", "there", "--socket-dir", "#{dir}"]),
               ~s(["drop", "there", "c", "--socket-dir", "#{dir}"]),
               ~s(["list", "--socket-dir", "#{dir}"])
             ]
    end

    test "what pgcell says is the error", %{server: server} do
      assert {:error, %Error{code: nil, message: ~s(there is no cell "none")}} = PgliteEx.drop(server, "none")
      assert {:error, %Error{}} = PgliteEx.clone(server, "none", "x")
    end

    test "names are checked here", %{server: server} do
      for name <- ["", "a b", "a@b", "--help", "-x", String.duplicate("x", 64), nil, 1] do
        assert_raise ArgumentError, ~r/a cell's name/, fn -> PgliteEx.create_cell(server, name) end
      end
    end

    test "a pool drops what its processes had", %{server: server, said: said} do
      {:ok, pool} = CellPool.start_link(server: server, prefix: "pool")
      parent = self()

      {pid, ref} =
        spawn_monitor(fn ->
          {:ok, cell} = CellPool.checkout(pool)
          {:ok, ^cell} = CellPool.checkout(pool)
          send(parent, {:cell, cell})
        end)

      assert_receive {:cell, "pool-" <> _ = cell}
      assert_receive {:DOWN, ^ref, :process, ^pid, :normal}
      eventually(fn -> Enum.any?(said.(), &(&1 =~ ~s(["drop", "#{cell}"))) end)

      assert {:ok, mine} = CellPool.checkout(pool)
      assert mine != cell
      assert :ok = CellPool.checkin(pool)
      assert :ok = CellPool.checkin(pool)
      assert {:ok, other} = CellPool.checkout(pool)
      assert other not in [mine, cell]
    end

    test "a pool with a template clones it, and says when that fails", %{server: server, said: said} do
      {:ok, pool} = CellPool.start_link(server: server, template: "there")
      assert {:ok, cell} = CellPool.checkout(pool)
      assert Enum.any?(said.(), &(&1 =~ ~s(["clone", "there", "#{cell}")))

      {:ok, pool} = CellPool.start_link(server: server, template: "none")
      assert {:error, %Error{message: message}} = CellPool.checkout(pool)
      assert message =~ "none"
    end
  end

  test "a pool that can't be" do
    assert {:error, %{message: message}} = CellPool.start_link([])
    assert message =~ ":server is missing"
    assert {:error, %{reason: :bad_option}} = CellPool.start_link(server: self(), template: "a b")
    assert {:error, :down} = CellPool.checkout(:no_pool_of_that_name)
    assert {:error, :down} = CellPool.checkin(:no_pool_of_that_name)
  end

  describe "the real commands:" do
    @describetag :real_cell

    setup do
      %{server: server!()}
    end

    defp names(server) do
      {:ok, cells} = PgliteEx.list_cells(server)
      for cell <- cells, do: cell.name
    end

    test "create, list, drop", %{server: server} do
      assert :ok = PgliteEx.create_cell(server, "a")
      assert "a" in names(server)
      assert {:error, %Error{message: message}} = PgliteEx.create_cell(server, "a")
      assert message =~ "a"
      {:ok, _} = PgliteEx.query(server, "create table t ()", [], cell: "a")
      assert :ok = PgliteEx.drop(server, "a")
      refute "a" in names(server)
      assert {:error, %Error{}} = PgliteEx.drop(server, "a")
      assert {:error, %Error{code: "42P01"}} = PgliteEx.query(server, "table t", [], cell: "a")
    end

    test "a clone has what its source had, and goes its own way", %{server: server} do
      {:ok, _} = PgliteEx.query(server, "create table t as select 1 as a", [], cell: "source")
      assert :ok = PgliteEx.clone(server, "source", "copy")
      assert :ok = PgliteEx.create_cell(server, "other", template: "source")
      {:ok, _} = PgliteEx.query(server, "update t set a = 2", [], cell: "copy")

      for {cell, value} <- [{"source", 1}, {"copy", 2}, {"other", 1}],
          do: assert({:ok, %{rows: [[^value]]}} = PgliteEx.query(server, "table t", [], cell: cell))

      assert {:error, %Error{}} = PgliteEx.clone(server, "none", "x")
    end

    test "a pool of copies, dropped afterwards", %{server: server} do
      {:ok, _} = PgliteEx.query(server, "create table t as select 1 as a", [], cell: "template")
      {:ok, pool} = CellPool.start_link(server: server, template: "template")

      1..10
      |> Task.async_stream(
        fn i ->
          {:ok, cell} = CellPool.checkout(pool)
          {:ok, _} = PgliteEx.query(server, "insert into t values ($1)", [i], cell: cell)
          assert {:ok, %{rows: [[2]]}} = PgliteEx.query(server, "select count(*) from t", [], cell: cell)
        end,
        max_concurrency: 10,
        timeout: 20_000
      )
      |> Stream.run()

      eventually(fn -> not Enum.any?(names(server), &String.starts_with?(&1, "test-")) end, 10_000)
    end
  end
end
