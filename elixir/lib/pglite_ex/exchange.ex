defmodule PgliteEx.Exchange do
  @moduledoc false
  # Knows when an exchange is complete: which of the frontend's messages are still to be answered. No I/O.
  #
  #   owed       what was sent and not answered, in order:
  #                :query  Query or FunctionCall: one ReadyForQuery
  #                :sync   Sync: one ReadyForQuery, unless COPY FROM STDIN of an extended query swallows it
  #                :data   CopyDone or CopyFail: nothing by itself
  #   is_copying COPY FROM STDIN waits for data, and it was not sent along: control is the caller's
  #   is_loose   messages without Sync were sent: their answers come, but nothing says when they are over

  defstruct owed: [], is_copying: false, is_loose: false

  @frontend_types ~c"BCDEFHPQScdf"
  @copy_types ~c"dcfSH"
  # MaxAllocSize: PostgreSQL ends the session of who sends more
  @length_max 0x3FFFFFFE

  @doc false
  def new, do: %__MODULE__{}

  @doc false
  # Checks that `bytes` are whole messages which make sense now, and notes them. {:wait | :nothing_owed, exchange}
  def send_off(%__MODULE__{} = exchange, bytes) do
    case parse(bytes, 0, exchange.is_copying, []) do
      {:ok, [], _is_copying} when bytes == <<>> ->
        {:error, "it is empty"}

      {:ok, added, is_copying} ->
        owed = settle(exchange.owed ++ added)
        is_loose = exchange.is_loose or (added == [] and not exchange.is_copying)
        exchange = %{exchange | owed: owed, is_copying: is_copying, is_loose: is_loose}
        {if(added == [] or owed == [], do: :nothing_owed, else: :wait), exchange}

      {:error, _why} = error ->
        error
    end
  end

  defp parse(<<type, len::32, rest::binary>>, at, is_copying, owed)
       when type in @frontend_types and len >= 4 and len <= @length_max do
    body = len - 4

    cond do
      is_copying and type not in @copy_types ->
        {:error,
         "COPY FROM STDIN waits for data, and the message at byte #{at} (type #{inspect(<<type>>)}) is not " <>
           "CopyData, CopyDone or CopyFail"}

      byte_size(rest) < body ->
        {:error,
         "the message at byte #{at} (type #{inspect(<<type>>)}) says it has #{len} bytes after its type, and " <>
           "#{byte_size(rest) + 4} are there"}

      true ->
        <<_body::binary-size(body), rest::binary>> = rest
        parse(rest, at + 1 + len, is_copying and type not in ~c"cf", note(type, owed))
    end
  end

  defp parse(<<>>, _at, is_copying, owed), do: {:ok, Enum.reverse(owed), is_copying}

  defp parse(<<?X, 4::32, _rest::binary>>, _at, _is_copying, _owed),
    do: {:error, "Terminate would end the session; stop the bridge instead"}

  defp parse(<<type, _rest::binary>>, at, _is_copying, _owed) when type not in @frontend_types,
    do: {:error, "byte #{at} (#{inspect(<<type>>)}) does not begin a message of the frontend"}

  defp parse(<<type, len::32, _rest::binary>>, at, _is_copying, _owed),
    do:
      {:error,
       "the message at byte #{at} (type #{inspect(<<type>>)}) says it has #{len} bytes after its type"}

  defp parse(_header, at, _is_copying, _owed),
    do: {:error, "it ends within the header of the message at byte #{at}"}

  defp note(type, owed) when type in ~c"QF", do: [:query | owed]
  defp note(?S, owed), do: [:sync | owed]
  defp note(type, owed) when type in ~c"cf", do: [:data | owed]
  defp note(_type, owed), do: owed

  # The end of a COPY that failed earlier, or never was: PostgreSQL ignores it.
  defp settle([:data | owed]), do: settle(owed)
  defp settle(owed), do: owed

  @doc false
  # ReadyForQuery came.
  def ready(%__MODULE__{} = exchange) do
    owed = exchange.owed |> Enum.drop(1) |> settle()
    %{exchange | owed: owed, is_copying: false, is_loose: false}
  end

  @doc false
  # CopyInResponse came. Syncs before the data's end are swallowed by it, as the protocol has it.
  def copy_in(%__MODULE__{owed: owed} = exchange) do
    {queries, later} = Enum.split(owed, if(match?([:query | _], owed), do: 1, else: 0))

    case Enum.split_while(later, &(&1 != :data)) do
      {_syncs, [:data | later]} -> %{exchange | owed: queries ++ later}
      {_syncs, []} -> %{exchange | owed: queries, is_copying: true}
    end
  end

  @doc false
  # Control is the caller's again.
  def is_over?(%__MODULE__{owed: owed, is_copying: is_copying}), do: owed == [] or is_copying

  @doc false
  # Whether what comes now belongs to something that was sent.
  def is_open?(%__MODULE__{} = exchange), do: exchange.owed != [] or exchange.is_copying or exchange.is_loose
end
