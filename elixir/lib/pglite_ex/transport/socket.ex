defmodule PgliteEx.Transport.Socket do
  @moduledoc false
  # A session of a cell of a running server, over its socket.

  alias PgliteEx.Protocol
  alias PgliteEx.Transport.Writer

  defstruct [:socket, :address, :writer, os_pid: nil]

  @connect_timeout_ms 5_000
  @buffer_bytes 262_144
  @options [:binary, packet: :raw, active: false, nodelay: true, buffer: @buffer_bytes]

  @doc false
  def open(config) do
    with {:ok, socket} <- connect(config.address) do
      writer = Writer.start_link(&:gen_tcp.send(socket, &1))
      transport = %__MODULE__{socket: socket, address: config.address, writer: writer}
      more(transport)
      {:ok, transport}
    end
  end

  defp connect({:local, path}),
    do: :gen_tcp.connect({:local, path}, 0, List.keydelete(@options, :nodelay, 0), @connect_timeout_ms)

  # An address needs no resolver, which would be a program of the BEAM's that stays.
  defp connect({host, port}) do
    name = String.to_charlist(host)

    case :inet.parse_address(name) do
      {:ok, address} -> :gen_tcp.connect(address, port, @options, @connect_timeout_ms)
      {:error, :einval} -> :gen_tcp.connect(name, port, @options, @connect_timeout_ms)
    end
  end

  @doc false
  def hello(transport, config) do
    write(transport, Protocol.startup([{"user", config.username}, {"database", config.database}]))
  end

  @doc false
  def write(%{writer: writer}, bytes), do: Writer.write(writer, bytes)

  @doc false
  # By a connection of its own, as the protocol has it.
  def cancel(%{address: address}, key) do
    spawn(fn ->
      with {:ok, socket} <- connect(address) do
        :gen_tcp.send(socket, Protocol.cancel_request(key))
        :gen_tcp.recv(socket, 0, @connect_timeout_ms)
        :gen_tcp.close(socket)
      end
    end)
  end

  @doc false
  def more(%{socket: socket}), do: :inet.setopts(socket, active: :once)

  @doc false
  def handle(%{socket: socket}, {:tcp, socket, data}), do: {:data, data}
  def handle(%{socket: socket}, {:tcp_closed, socket}), do: {:closed, :closed}
  def handle(%{socket: socket}, {:tcp_error, socket, reason}), do: {:closed, reason}
  def handle(%{socket: socket}, {:EXIT, socket, reason}), do: {:closed, reason}
  def handle(%{writer: writer}, {:EXIT, writer, _gone}), do: :ignore
  def handle(_transport, _message), do: :unknown

  @doc false
  def explain(:closed), do: "the server has closed the connection"
  def explain(reason) when is_atom(reason), do: "connection to the server: #{:inet.format_error(reason)}"
  def explain(reason), do: "connection to the server: #{inspect(reason)}"

  @doc false
  def close(%{socket: socket} = transport, how) do
    Writer.stop(transport.writer)
    if how == :idle, do: :gen_tcp.send(socket, Protocol.terminate())
    :gen_tcp.close(socket)
  end
end
