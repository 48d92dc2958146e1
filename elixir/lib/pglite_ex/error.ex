defmodule PgliteEx.Error do
  @moduledoc """
  An error that PostgreSQL (or `pgcell`) reported.

  `:code` is the SQLSTATE, five characters such as `"42P01"`, or `nil` when `pgcell` itself said it. `:message` is PostgreSQL's
  own text. `:fields` holds everything else of the ErrorResponse, by the names below; a field that was not sent is not in it.

    * `:detail`, `:hint`, `:where`, `:internal_query`: text
    * `:position`, `:internal_position`: a character's place in the query, from 1, as text
    * `:schema`, `:table`, `:column`, `:data_type`, `:constraint`: names
    * `:file`, `:line`, `:routine`: where in PostgreSQL's source
  """

  defexception message: "", code: nil, severity: "ERROR", fields: %{}

  @type t :: %__MODULE__{
          message: String.t(),
          code: String.t() | nil,
          severity: String.t(),
          fields: %{optional(atom) => String.t()}
        }

  @names %{
    ?D => :detail,
    ?H => :hint,
    ?P => :position,
    ?p => :internal_position,
    ?q => :internal_query,
    ?W => :where,
    ?s => :schema,
    ?t => :table,
    ?c => :column,
    ?d => :data_type,
    ?n => :constraint,
    ?F => :file,
    ?L => :line,
    ?R => :routine
  }

  @impl true
  def message(%__MODULE__{code: nil, message: message}), do: message

  def message(%__MODULE__{severity: severity, code: code, message: message, fields: fields}) do
    extra = for key <- [:detail, :hint], text = fields[key], do: "\n#{key}: #{text}"
    "#{severity} #{code}: #{message}#{extra}"
  end

  @doc """
  Makes an error of the body of an ErrorResponse or NoticeResponse (without type and length).

  A body that was cut short gives the fields that are whole.
  """
  @spec from_fields(binary) :: t
  def from_fields(body), do: from_fields(body, %__MODULE__{})

  defp from_fields(<<field, rest::binary>>, error) when field != 0 do
    case :binary.split(rest, <<0>>) do
      [text, rest] -> from_fields(rest, put_field(error, field, text))
      [_cut_short] -> error
    end
  end

  defp from_fields(_end, error), do: error

  defp put_field(error, ?M, text), do: %{error | message: text}
  defp put_field(error, ?C, text), do: %{error | code: text}
  # V is S without translation, and comes after it
  defp put_field(error, field, text) when field in [?S, ?V], do: %{error | severity: text}

  defp put_field(error, field, text) do
    case @names do
      %{^field => name} -> %{error | fields: Map.put(error.fields, name, text)}
      _unknown -> error
    end
  end
end

defmodule PgliteEx.StartError do
  @moduledoc """
  Why `pgcell` could not be started.

  | `:reason` | what happened |
  |---|---|
  | `:not_found` | no program where the option, the environment or `priv/` say |
  | `:not_executable` | it is there, but may not be executed |
  | `:wrong_program` | it runs, but is not `pgcell` |
  | `:wrong_version` | it is a `pgcell` that this library does not know how to talk to |
  | `:bad_option` | an option of ours has a value that can't be |
  | `:exited` | it ended before it was ready; the message has its last lines and its exit status |
  | `:timeout` | it was not ready in time |
  """

  defexception [:reason, :message]

  @type t :: %__MODULE__{reason: atom, message: String.t()}
end
