defmodule PgliteEx.Types do
  @moduledoc """
  Values of `PgliteEx.query/4`: PostgreSQL's text format, both ways.

  ## From PostgreSQL

  | type | value |
  |---|---|
  | `NULL` | `nil` |
  | `boolean` | `true`, `false` |
  | `smallint`, `integer`, `bigint`, `oid` | integer |
  | `real`, `double precision` | float, or `:NaN`, `:inf`, `:"-inf"` |
  | `bytea` | binary, the bytes themselves |
  | everything else: `text`, `numeric`, `json`, `jsonb`, `date`, `timestamptz`, `uuid`, arrays, … | binary, PostgreSQL's text |

  `numeric` stays text because nothing in Elixir alone holds it exactly, `json` because there is no parser without a dependency.

  ## To PostgreSQL

  | value | sent as |
  |---|---|
  | `nil` | `NULL` |
  | binary | the text itself, whatever the parameter's type: `"42"` is an integer where one is wanted |
  | `{:bytea, binary}` | bytes |
  | integer, float, `true`, `false` | their text; `:NaN`, `:inf`, `:"-inf"` as well |
  | `Date`, `Time`, `NaiveDateTime`, `DateTime` | ISO 8601 |
  | other structs with `String.Chars`, such as `Decimal` | `to_string/1` |

  Anything else is refused before anything is sent.
  """

  @bool 16
  @bytea 17
  @integers [20, 21, 23, 26]
  @floats [700, 701]

  @doc "Converts a value in text format by its type's OID."
  @spec decode(binary | nil, non_neg_integer) :: term
  def decode(nil, _oid), do: nil
  def decode("t", @bool), do: true
  def decode("f", @bool), do: false
  def decode(text, oid) when oid in @integers, do: String.to_integer(text)
  def decode(text, oid) when oid in @floats, do: decode_float(text)
  def decode(<<"\\x", hex::binary>>, @bytea), do: Base.decode16!(hex, case: :mixed)

  # bytea_output = escape, and nothing that needs a conversion: a copy, or one value would keep the whole answer alive
  def decode(text, _oid), do: :binary.copy(text)

  defp decode_float("NaN"), do: :NaN
  defp decode_float("Infinity"), do: :inf
  defp decode_float("-Infinity"), do: :"-inf"

  defp decode_float(text) do
    {float, ""} = Float.parse(text)
    float
  end

  @doc "A parameter's text, `{:ok, nil}` for NULL, or `:error` for what can't be sent."
  @spec encode(term) :: {:ok, binary | nil} | :error
  def encode(nil), do: {:ok, nil}
  def encode(value) when is_binary(value), do: {:ok, value}
  def encode(value) when is_integer(value), do: {:ok, Integer.to_string(value)}
  def encode(value) when is_float(value), do: {:ok, Float.to_string(value)}
  def encode(true), do: {:ok, "true"}
  def encode(false), do: {:ok, "false"}
  def encode(:NaN), do: {:ok, "NaN"}
  def encode(:inf), do: {:ok, "Infinity"}
  def encode(:"-inf"), do: {:ok, "-Infinity"}

  def encode({:bytea, bytes}) when is_binary(bytes),
    do: {:ok, "\\x" <> Base.encode16(bytes, case: :lower)}

  def encode(%module{} = value) when module in [Date, Time, NaiveDateTime, DateTime],
    do: {:ok, module.to_iso8601(value)}

  def encode(%_module{} = value) do
    if String.Chars.impl_for(value), do: {:ok, to_string(value)}, else: :error
  end

  def encode(_other), do: :error
end
