defmodule PgliteEx.Transport.Writer do
  @moduledoc false
  # Writes in a process of its own, in pieces: whoever writes to a pipe or socket that is full is suspended, and a bridge has to read,
  # to keep time and to cancel meanwhile. What is urgent goes between two pieces.

  @piece_bytes 262_144

  @doc false
  # write: writes one piece, :ok or anything else when the other end is gone (of which the bridge hears by itself)
  def start_link(write), do: spawn_link(fn -> loop(write) end)

  @doc false
  def write(writer, bytes), do: send(writer, {:write, bytes})

  @doc false
  def urgent(writer, bytes), do: send(writer, {:urgent, bytes})

  @doc false
  def stop(writer) do
    Process.unlink(writer)
    Process.exit(writer, :kill)
  end

  defp loop(write) do
    receive do
      {:urgent, bytes} -> put(write, bytes)
      {:write, bytes} -> pieces(write, IO.iodata_to_binary(bytes))
    end

    # a large message would stay in memory until there is another one
    :erlang.garbage_collect()

    loop(write)
  end

  defp pieces(write, <<piece::binary-size(@piece_bytes), rest::binary>>) do
    put(write, piece)

    receive do
      {:urgent, bytes} -> put(write, bytes)
    after
      0 -> :ok
    end

    pieces(write, rest)
  end

  defp pieces(_write, <<>>), do: :ok
  defp pieces(write, last), do: put(write, last)

  defp put(write, bytes), do: write.(bytes) == :ok || exit(:normal)
end
