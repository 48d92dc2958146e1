defmodule PgliteEx.Telemetry do
  @moduledoc """
  Events, when the package `:telemetry` is in the application. Without it nothing happens and nothing is needed.

  | event | measurements | metadata |
  |---|---|---|
  | `[:pglite_ex, :server, :ready]` | `:duration` of the start | `:name`, `:os_pid`, `:restarts` |
  | `[:pglite_ex, :server, :down]` | | `:name`, `:os_pid`, `:reason` |
  | `[:pglite_ex, :bridge, :ready]` | `:duration` of the start | `:name`, `:os_pid` (`nil` on a server's cell), `:restarts` |
  | `[:pglite_ex, :bridge, :down]` | | `:name`, `:os_pid`, `:reason` |
  | `[:pglite_ex, :exec, :stop]` | `:duration`, `:bytes_in`, `:bytes_out` | `:name`, `:result`: `:ok` or the reason |
  | `[:pglite_ex, :cell, :stop]` | `:duration` | `:server`, `:command` (`:create`, `:clone`, `:drop` or `:list`), `:cells`, `:result` |

  Durations are in `System.monotonic_time/0`'s native unit, as everywhere in `:telemetry`. `:bytes_in` went to PostgreSQL,
  `:bytes_out` came from it.
  """

  @key {__MODULE__, :is_available}

  @doc false
  # Asking the code server each time would make it a bottleneck.
  def discover do
    is_available = Code.ensure_loaded?(:telemetry) and function_exported?(:telemetry, :execute, 3)

    # writing what is there already costs nothing; changing it costs a collection of garbage everywhere
    :persistent_term.put(@key, is_available)
  end

  @doc false
  @spec emit([atom], map, map) :: :ok
  def emit(event, measurements, metadata) do
    if :persistent_term.get(@key, false) do
      apply(:telemetry, :execute, [[:pglite_ex | event], measurements, metadata])
    end

    :ok
  end

  @doc false
  def since(start), do: System.monotonic_time() - start
end
