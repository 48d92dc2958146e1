defmodule PgliteEx.Scanner do
  @moduledoc false
  # Follows the backend's messages through chunks that end anywhere, without copying or keeping what it skips: a message of 100 MB
  # costs a subtraction for each chunk. Only small messages that say something about the session come back as events.
  #
  # Each event has the offset in the chunk at which its message ends, so that the chunk can be cut there.

  # ErrorResponse, CopyInResponse, BackendKeyData, Authentication, ParameterStatus, ReadyForQuery
  @told ~c"EGKRSZ"
  # NoticeResponse, RowDescription, …: what else a backend says in version 3.0 and later
  @passed ~c"123ACDHINTVWcdnstv"
  @body_max_bytes 1_048_576
  # MaxAllocSize, which no message of PostgreSQL exceeds
  @length_max 0x3FFFFFFF

  defstruct header: <<>>, skip: 0, told: nil

  @type t :: %__MODULE__{}
  @type event :: {byte, binary, non_neg_integer}

  @doc false
  def new, do: %__MODULE__{}

  @doc false
  # Between two messages, not within one.
  def is_between?(%__MODULE__{header: <<>>, skip: 0, told: nil}), do: true
  def is_between?(%__MODULE__{}), do: false

  @doc false
  @spec scan(t, binary) :: {[event], t} | {:error, String.t()}
  def scan(%__MODULE__{} = scanner, chunk) do
    # A header that was cut belongs to this chunk's offsets with a negative start.
    data = if scanner.header == <<>>, do: chunk, else: scanner.header <> chunk
    resume(data, byte_size(chunk), scanner)
  end

  defp resume(data, size, %{told: {type, kept, kept_size, missing}}) do
    if byte_size(data) < missing do
      {[], %__MODULE__{told: keep(type, kept, kept_size, missing, data)}}
    else
      <<part::binary-size(missing), rest::binary>> = data
      {_type, kept, _size, 0} = keep(type, kept, kept_size, missing, part)
      next(rest, size, [{type, IO.iodata_to_binary(kept), size - byte_size(rest)}])
    end
  end

  defp resume(data, size, %{skip: skip}) when skip > 0 do
    if byte_size(data) < skip,
      do: {[], %__MODULE__{skip: skip - byte_size(data)}},
      else: next(binary_part(data, skip, byte_size(data) - skip), size, [])
  end

  defp resume(data, size, _between), do: next(data, size, [])

  defp keep(type, kept, kept_size, missing, data) do
    missing = missing - byte_size(data)

    if kept_size < @body_max_bytes,
      do: {type, [kept | data], kept_size + byte_size(data), missing},
      else: {type, kept, kept_size, missing}
  end

  defp next(<<type, len::32, rest::binary>>, size, events) when type in @passed and len in 4..@length_max do
    body = len - 4

    case rest do
      <<_body::binary-size(body), rest::binary>> -> next(rest, size, events)
      _cut_short -> done(events, %__MODULE__{skip: body - byte_size(rest)})
    end
  end

  defp next(<<type, len::32, rest::binary>>, size, events) when type in @told and len in 4..@length_max do
    missing = len - 4

    case rest do
      <<body::binary-size(missing), rest::binary>> ->
        next(rest, size, [{type, body, size - byte_size(rest)} | events])

      _cut_short ->
        done(events, %__MODULE__{told: keep(type, [], 0, missing, rest)})
    end
  end

  defp next(<<type, len::32, _rest::binary>>, _size, _events) do
    {:error, "a message of type #{inspect(<<type>>)} and length #{len} is not PostgreSQL's"}
  end

  defp next(header, _size, events), do: done(events, %__MODULE__{header: header})

  defp done(events, scanner), do: {Enum.reverse(events), scanner}
end
