defmodule PgliteEx.Transport.Port do
  @moduledoc false
  # A session of a `pgcell port` process of our own: protocol bytes in {packet, 4} frames over its stdin and stdout. Its stderr is ours.

  alias PgliteEx.{Command, Protocol, StartError}
  alias PgliteEx.Transport.Writer

  defstruct [:port, :os_pid, :writer]

  @exit_reasons %{
    0 => "the session ended",
    2 => "it does not understand how it was called: use the pgcell and the PgliteEx of one release",
    3 => "the session could not be started",
    4 => "the session ended by itself or crashed"
  }

  @doc false
  def open(config) do
    image = if config.image, do: ["--image", config.image], else: []

    args =
      ["port", "--framing=packet4", "--startup", "--user", config.username, "--database", config.database] ++
        image ++ config.args

    port = Command.open(config.path, args, packet: 4)
    writer = Writer.start_link(&command(port, &1))
    {:ok, %__MODULE__{port: port, os_pid: Command.os_pid(port), writer: writer}}
  rescue
    error in ErlangError ->
      {:error,
       %StartError{reason: :exited, message: "#{config.path} cannot be started: #{inspect(error.original)}"}}
  end

  defp command(port, bytes) do
    Port.command(port, bytes)
    :ok
  rescue
    ArgumentError -> :closed
  end

  # pgcell sends the start-up packet itself
  @doc false
  def hello(_transport, _config), do: :ok

  @doc false
  def write(%{writer: writer}, bytes), do: Writer.write(writer, bytes)

  @doc false
  def cancel(%{writer: writer}, key), do: Writer.urgent(writer, Protocol.cancel_request(key))

  @doc false
  # A port cannot be told to wait: what it reads is in our mailbox.
  def more(_transport), do: :ok

  @doc false
  def handle(%{port: port}, {port, {:data, data}}), do: {:data, data}
  def handle(%{port: port}, {port, {:exit_status, status}}), do: {:closed, {:exit_status, status}}
  def handle(%{port: port}, {:EXIT, port, reason}), do: {:closed, reason}
  def handle(%{writer: writer}, {:EXIT, writer, _gone}), do: :ignore
  def handle(_transport, _message), do: :unknown

  @doc false
  def explain({:exit_status, status}) do
    "pgcell port ended with status #{status}: #{@exit_reasons[status] || "see what it logged"}"
  end

  def explain(reason), do: "pgcell port: #{inspect(reason)}"

  @doc false
  # :idle leaves the session time to say goodbye, :busy asks the process to end, :now kills it; :gone it is already.
  def close(transport, :gone) do
    Writer.stop(transport.writer)
    Command.close(transport.port)
  end

  def close(%{port: port} = transport, how) do
    Writer.stop(transport.writer)
    if how == :idle, do: command(port, Protocol.terminate())
    if how == :idle, do: wait(port, 1_000), else: :ok
    Command.stop(port, if(how == :now, do: 0, else: 2_000))
  end

  # Puts the status back for Command.stop/2, which asks once more.
  defp wait(port, timeout_ms) do
    with {:exited, status} when status != nil <- Command.await_exit(port, timeout_ms) do
      send(self(), {port, {:exit_status, status}})
    end
  end
end
