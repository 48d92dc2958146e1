defmodule PgliteEx.ManyCellsTest do
  # Measures: nothing beside it.
  use ExUnit.Case, async: false

  import PgliteEx.Support
  alias PgliteEx.{Bridge, CellPool}

  @processes 100
  @within_ms 5_000
  # the machine is not always ours alone
  @attempts 3

  test "100 processes at a time, each with a cell of its own" do
    times =
      Enum.reduce_while(1..@attempts, [], fn _turn, times ->
        ms = run()
        if ms < @within_ms, do: {:halt, [ms | times]}, else: {:cont, [ms | times]}
      end)

    IO.puts("  #{@processes} processes, each with its cell: #{hd(times)} ms")
    assert hd(times) < @within_ms, "took #{inspect(times)} ms"
  end

  defp run do
    others = processes()
    {:ok, server} = PgliteEx.start_link(binary: binary(:serve), log: false)
    {:ok, pool} = CellPool.start_link(server: server)
    {:ok, %{os_pid: os_pid}} = PgliteEx.info(server)
    start = System.monotonic_time(:millisecond)

    cells =
      1..@processes
      |> Task.async_stream(&use_cell(pool, &1), max_concurrency: @processes, timeout: 30_000, ordered: false)
      |> Enum.map(fn {:ok, cell} -> cell end)

    ms = System.monotonic_time(:millisecond) - start
    assert cells |> Enum.uniq() |> length() == @processes
    GenServer.stop(pool)
    PgliteEx.stop(server)
    refute is_alive?(os_pid)
    eventually(fn -> processes() -- others == [] end, 5_000, "the end of all sessions")
    ms
  end

  defp use_cell(pool, i) do
    %{cell: cell, pg: pg} = PgliteEx.Case.checkout(pool: pool)
    assert {:ok, _} = PgliteEx.query(pg, "create table mine (a int)")

    assert {:ok, %{num_rows: 10}} =
             PgliteEx.query(pg, "insert into mine select $1::int from generate_series(1, 10)", [i])

    assert {:ok, %{rows: [[10, ^i]]}} = PgliteEx.query(pg, "select count(*), max(a) from mine")
    Bridge.stop(pg)
    cell
  end
end
