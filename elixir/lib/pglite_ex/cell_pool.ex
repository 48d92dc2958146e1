defmodule PgliteEx.CellPool do
  @moduledoc """
  Gives a cell to each process that asks, and drops it when the process is gone: a database for each test, with `async: true`.

      {PgliteEx.CellPool, name: MyApp.Cells, server: MyApp.PG, template: "migrated"}

  Cells have names that were not there before (`prefix` and a number). Without a template they are made on first use; with one, by
  copying it when they are asked for. `PgliteEx.Case` is made of this.
  """

  use GenServer
  require Logger

  alias PgliteEx.{Options, Starter}

  @schema [
    {:name, nil, &PgliteEx.Bridge.name?/1, "a name of a process"},
    {:server, nil, :server, "a PgliteEx server"},
    {:template, nil, :cell, "a cell's name"},
    {:prefix, "test", :cell, "the beginning of a cell's name"},
    {:keep, false, :flag, "true or false"}
  ]

  @doc false
  def child_spec(opts) do
    %{id: Keyword.get(opts, :name, __MODULE__), start: {__MODULE__, :start_link, [opts]}, type: :worker}
  end

  @doc """
  Starts a pool.

  Options: `:server` (required), `:template` (a cell that each is a copy of; default none), `:prefix` of the names (default `"test"`),
  `:keep` (`true`: cells are not dropped and last as long as the server; default `false`), `:name`.
  """
  @spec start_link(keyword) :: {:ok, pid} | {:error, term}
  def start_link(opts) do
    with {:ok, config} <- Options.check(opts, @schema, "PgliteEx.CellPool.start_link/1") do
      if config.server,
        do: Starter.start(__MODULE__, config, :link),
        else: Options.bad("PgliteEx.CellPool.start_link/1: :server is missing")
    end
  end

  @doc """
  The calling process's cell: a new one at the first call, the same one afterwards. Errors as `PgliteEx.create_cell/3`;
  `{:error, :down}` also when there is no pool.
  """
  @spec checkout(GenServer.server()) :: {:ok, PgliteEx.cell()} | {:error, term}
  def checkout(pool) do
    case GenServer.call(pool, {:checkout, self()}, :infinity) do
      {:new, cell, %{template: nil}} -> {:ok, cell}
      {:new, cell, config} -> copy(pool, cell, config)
      {:same, cell, _config} -> {:ok, cell}
    end
  catch
    :exit, _down -> {:error, :down}
  end

  # In the caller's process: others are not held up.
  defp copy(pool, cell, config) do
    with {:error, _reason} = error <- PgliteEx.clone(config.server, config.template, cell) do
      GenServer.call(pool, {:checkin, self()}, :infinity)
      error
    else
      :ok -> {:ok, cell}
    end
  end

  @doc "Gives the calling process's cell back before the process ends. Returns when it is dropped, or `:ok` if there is none."
  @spec checkin(GenServer.server()) :: :ok | {:error, term}
  def checkin(pool) do
    GenServer.call(pool, {:checkin, self()}, :infinity)
  catch
    :exit, _down -> {:error, :down}
  end

  @doc "The pool's server."
  @spec server(GenServer.server()) :: {:ok, PgliteEx.server()} | {:error, :down}
  def server(pool) do
    {:ok, GenServer.call(pool, :server, :infinity)}
  catch
    :exit, _down -> {:error, :down}
  end

  # One command at a time drops whatever has come together meanwhile: a program for each cell would be slower than the tests.

  @impl true
  def init(config) do
    {:ok, %{config: config, cells: %{}, next: first_number(), to_drop: [], dropping: nil}}
  end

  # Names are new even when the pool was restarted and the server was not.
  defp first_number, do: System.system_time(:millisecond) * 1000

  @impl true
  def handle_call(:await_ready, _from, state), do: {:reply, :ok, state}
  # somebody took the pool for a server
  def handle_call(:address, _from, state), do: {:reply, :neither, state}
  def handle_call(:server, _from, state), do: {:reply, state.config.server, state}

  def handle_call({:checkout, pid}, _from, state) do
    case state.cells do
      %{^pid => {cell, _monitor}} ->
        {:reply, {:same, cell, state.config}, state}

      cells ->
        cell = "#{state.config.prefix}-#{Integer.to_string(state.next, 36)}"
        cells = Map.put(cells, pid, {cell, Process.monitor(pid)})
        {:reply, {:new, cell, state.config}, %{state | cells: cells, next: state.next + 1}}
    end
  end

  def handle_call({:checkin, pid}, from, state) do
    case Map.pop(state.cells, pid) do
      {nil, _cells} ->
        {:reply, :ok, state}

      {{cell, monitor}, cells} ->
        Process.demonitor(monitor, [:flush])
        {:noreply, drop({cell, from}, %{state | cells: cells})}
    end
  end

  @impl true
  def handle_info({:DOWN, ref, :process, _pid, outcome}, %{dropping: {ref, asked}} = state) do
    result = if match?({:dropped, _}, outcome), do: elem(outcome, 1), else: {:error, :down}

    if result not in [:ok, {:error, :down}],
      do: Logger.warning("PgliteEx.CellPool: cells are left: #{inspect(result)}")

    for {_cell, from} <- asked, from != nil, do: GenServer.reply(from, result)
    {:noreply, drop_more(%{state | dropping: nil})}
  end

  def handle_info({:DOWN, _monitor, :process, pid, _reason}, state) do
    case Map.pop(state.cells, pid) do
      {nil, _cells} -> {:noreply, state}
      {{cell, _monitor}, cells} -> {:noreply, drop({cell, nil}, %{state | cells: cells})}
    end
  end

  def handle_info(_other, state), do: {:noreply, state}

  defp drop({_cell, from}, %{config: %{keep: true}} = state) do
    if from, do: GenServer.reply(from, :ok)
    state
  end

  defp drop(asked, state), do: drop_more(%{state | to_drop: [asked | state.to_drop]})

  defp drop_more(%{dropping: nil, to_drop: [_ | _] = asked} = state) do
    server = state.config.server

    {_pid, ref} =
      spawn_monitor(fn -> exit({:dropped, drop_used(server, for({cell, _from} <- asked, do: cell))}) end)

    %{state | dropping: {ref, asked}, to_drop: []}
  end

  defp drop_more(state), do: state

  # A test may not have used its cell: there is nothing to drop then, and no reason to complain.
  defp drop_used(server, cells) do
    with {:error, %PgliteEx.Error{}} = error <- PgliteEx.drop(server, cells),
         {:ok, listed} <- PgliteEx.list_cells(server) do
      there = MapSet.new(listed, & &1.name)

      case Enum.filter(cells, &(&1 in there)) do
        [] -> :ok
        ^cells -> error
        some -> PgliteEx.drop(server, some)
      end
    end
  end
end
