defmodule PgliteEx.Starter do
  @moduledoc false
  # start_link that waits until the process is ready, and whose failure is a value: a process that ends in init/1 would take a
  # caller that does not trap exits with it.

  @doc false
  def start(module, config, how) when how in [:link, :nolink] do
    gen_opts = if config.name, do: [name: config.name], else: []

    with {:ok, pid} <- gen_start(how, module, config, gen_opts) do
      case await(pid) do
        :ok ->
          {:ok, pid}

        {:error, _reason} = error ->
          Process.unlink(pid)
          shut(pid)
          error
      end
    end
  end

  defp gen_start(:link, module, config, gen_opts), do: GenServer.start_link(module, config, gen_opts)
  defp gen_start(:nolink, module, config, gen_opts), do: GenServer.start(module, config, gen_opts)

  # The process has its own timer for the start.
  defp await(pid) do
    GenServer.call(pid, :await_ready, :infinity)
  catch
    :exit, reason -> {:error, reason}
  end

  @doc false
  def shut(pid) do
    GenServer.stop(pid, :shutdown, :infinity)
  catch
    :exit, _gone -> :ok
  end
end
