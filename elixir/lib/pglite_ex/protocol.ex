defmodule PgliteEx.Protocol do
  @moduledoc """
  PostgreSQL's frontend/backend protocol, version 3.0, as much of it as `PgliteEx.Bridge.exec_protocol_raw/3` wants: makes messages,
  splits answers. No process, no I/O.

      iex> IO.iodata_to_binary(PgliteEx.Protocol.query("select 1"))
      <<?Q, 13::32, "select 1", 0>>

      iex> PgliteEx.Protocol.messages(<<?C, 13::32, "SELECT 1", 0, ?Z, 5::32, ?I>>)
      [{?C, "SELECT 1" <> <<0>>}, {?Z, "I"}]
  """

  alias PgliteEx.{Error, Result, Types}

  @version_3_0 196_608
  @cancel_code 80_877_102

  @doc "StartupMessage, with at least `user` in it. No value may contain a zero byte."
  @spec startup([{String.t(), String.t()}]) :: iodata
  def startup(params) do
    body = [<<@version_3_0::32>>, for({key, value} <- params, do: [key, 0, value, 0]), 0]
    [<<IO.iodata_length(body) + 4::32>>, body]
  end

  @doc "CancelRequest for the session with this BackendKeyData: 16 bytes."
  @spec cancel_request({non_neg_integer, non_neg_integer}) :: binary
  def cancel_request({pid, key}), do: <<16::32, @cancel_code::32, pid::32, key::32>>

  @doc "Query: the simple protocol. The text must not contain a zero byte."
  @spec query(iodata) :: iodata
  def query(sql), do: message(?Q, [sql, 0])

  @doc "Parse, without types for the parameters: PostgreSQL finds them. `name` `\"\"` is the unnamed statement."
  @spec parse(String.t(), iodata) :: iodata
  def parse(name, sql), do: message(?P, [name, 0, sql, 0, <<0::16>>])

  @doc "Bind: parameters (`nil` or text, at most 65535) and results in text format, into the unnamed portal."
  @spec bind(String.t(), [binary | nil]) :: iodata
  def bind(statement, params) do
    values =
      Enum.map(params, fn
        nil -> <<-1::32>>
        value -> [<<byte_size(value)::32>>, value]
      end)

    message(?B, [0, statement, 0, <<0::16, length(params)::16>>, values, <<0::16>>])
  end

  @doc "Describe of the unnamed portal."
  @spec describe() :: iodata
  def describe, do: message(?D, [?P, 0])

  @doc "Execute of the unnamed portal; `max_rows` 0 is all, otherwise PortalSuspended comes when there are more."
  @spec execute(non_neg_integer) :: iodata
  def execute(max_rows \\ 0), do: message(?E, [0, <<max_rows::32>>])

  @doc "Sync: the end of an extended query, answered by ReadyForQuery."
  @spec sync() :: iodata
  def sync, do: message(?S, [])

  @doc "CopyData. Cut long data into pieces of your liking: one message has to fit into 1 GiB."
  @spec copy_data(iodata) :: iodata
  def copy_data(data), do: message(?d, data)

  @doc "CopyDone: the data is complete."
  @spec copy_done() :: iodata
  def copy_done, do: message(?c, [])

  @doc "CopyFail: the command fails, with this text in its error."
  @spec copy_fail(String.t()) :: iodata
  def copy_fail(why), do: message(?f, [why, 0])

  @doc "Terminate: the session ends."
  @spec terminate() :: iodata
  def terminate, do: message(?X, [])

  defp message(type, body), do: [<<type, IO.iodata_length(body) + 4::32>>, body]

  @doc """
  Splits whole messages into `{type, body}`; the body is without the length. Raises `ArgumentError` if the last one is cut short, which
  an answer of the bridge never is.
  """
  @spec messages(binary) :: [{byte, binary}]
  def messages(binary), do: fold(binary, [], &[{&1, &2} | &3]) |> Enum.reverse()

  @doc "Like `messages/1`, with `fun.(type, body, acc)` for each."
  @spec fold(binary, acc, (byte, binary, acc -> acc)) :: acc when acc: term
  def fold(<<type, len::32, rest::binary>>, acc, fun) when len >= 4 and byte_size(rest) >= len - 4 do
    size = len - 4
    <<body::binary-size(size), rest::binary>> = rest
    fold(rest, fun.(type, body, acc), fun)
  end

  def fold(<<>>, acc, _fun), do: acc
  def fold(_cut_short, _acc, _fun), do: raise(ArgumentError, "the last message is cut short")

  @doc false
  # The answer to one query: of several statements the last one with a tag counts, of several errors the first.
  @spec result(binary) :: {:ok, Result.t()} | {:error, Error.t()}
  def result(answer) do
    state = %{result: %Result{}, columns: nil, oids: [], rows: nil, error: nil}
    state = fold(answer, state, &collect/3)
    if state.error, do: {:error, state.error}, else: {:ok, state.result}
  end

  defp collect(?T, body, state) do
    {columns, oids} = Enum.unzip(row_description(body))
    %{state | columns: columns, oids: oids, rows: []}
  end

  defp collect(?D, <<_count::16, values::binary>>, state),
    do: %{state | rows: [row(values, state.oids) | state.rows]}

  defp collect(?H, _body, state), do: %{state | columns: nil, rows: []}
  defp collect(?d, body, state), do: %{state | rows: [[:binary.copy(body)] | state.rows || []]}
  defp collect(?I, _body, state), do: %{state | result: %Result{}, columns: nil, rows: nil}

  defp collect(?C, body, state) do
    {command, num_rows} = command_tag(body)
    rows = state.rows && Enum.reverse(state.rows)
    result = %Result{command: command, num_rows: num_rows, columns: state.columns, rows: rows}
    %{state | result: result, columns: nil, rows: nil}
  end

  defp collect(?E, body, %{error: nil} = state), do: %{state | error: Error.from_fields(body)}
  defp collect(_type, _body, state), do: state

  defp row_description(<<_count::16, fields::binary>>), do: fields(fields)

  defp fields(<<>>), do: []

  defp fields(binary) do
    [name, rest] = :binary.split(binary, <<0>>)
    <<_table::32, _column::16, oid::32, _size::16, _modifier::32, _format::16, rest::binary>> = rest
    [{:binary.copy(name), oid} | fields(rest)]
  end

  defp row(<<-1::signed-32, rest::binary>>, [_oid | oids]), do: [nil | row(rest, oids)]

  defp row(<<size::32, value::binary-size(size), rest::binary>>, [oid | oids]),
    do: [Types.decode(value, oid) | row(rest, oids)]

  defp row(<<>>, _oids), do: []

  defp command_tag(body) do
    words = body |> String.trim_trailing(<<0>>) |> String.split(" ")
    {numbers, names} = Enum.split_with(words, &(&1 =~ ~r/\A\d+\z/))

    # "INSERT 0 5" has an OID that is always 0
    num_rows = if numbers == [], do: nil, else: numbers |> List.last() |> String.to_integer()
    {Enum.join(names, " "), num_rows}
  end
end
