# Where the package is not there, a module of its name with as much as tests need.
unless Code.ensure_loaded?(:telemetry) do
  defmodule :telemetry do
    @moduledoc false
    @table :pglite_ex_test_telemetry

    def attach_many(id, events, handler, config) do
      if :ets.whereis(@table) == :undefined do
        parent = self()

        spawn(fn ->
          :ets.new(@table, [:named_table, :public])
          send(parent, :made)
          Process.sleep(:infinity)
        end)

        receive do: (:made -> :ok)
      end

      :ets.insert(@table, {id, events, handler, config})
      :ok
    end

    def detach(id) do
      :ets.delete(@table, id)
      :ok
    end

    def execute(event, measurements, metadata) do
      if :ets.whereis(@table) != :undefined do
        for {_id, events, handler, config} <- :ets.tab2list(@table),
            event in events,
            do: handler.(event, measurements, metadata, config)
      end

      :ok
    end
  end
end
