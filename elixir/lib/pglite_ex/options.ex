defmodule PgliteEx.Options do
  @moduledoc false
  # Options of start_link: each has a default and a test, and what is wrong is said in words.

  alias PgliteEx.StartError

  @cell_name ~r/\A[A-Za-z0-9_.-]{1,63}\z/

  @doc false
  # schema: [{key, default, test, what it should be}]
  def check(opts, schema, function) do
    with :ok <- check_list(opts, function) do
      known = for {key, _default, _test, _text} <- schema, do: key

      case Keyword.keys(opts) -- known do
        [] ->
          check_values(opts, schema, function)

        [key | _] ->
          bad(
            "#{function} does not know the option #{inspect(key)}; it knows #{Enum.map_join(known, ", ", &inspect/1)}"
          )
      end
    end
  end

  defp check_list(opts, function) do
    if Keyword.keyword?(opts),
      do: :ok,
      else: bad("#{function} wants a keyword list, not #{inspect(opts)}")
  end

  defp check_values(opts, schema, function) do
    Enum.reduce_while(schema, {:ok, %{}}, fn {key, default, test, text}, {:ok, config} ->
      value = Keyword.get(opts, key, default)

      if value === default or is(test, value),
        do: {:cont, {:ok, Map.put(config, key, value)}},
        else: {:halt, bad("#{function}: #{inspect(key)} has to be #{text}, not #{inspect(value)}")}
    end)
  end

  defp is(:text, value), do: is_binary(value) and value != "" and not String.contains?(value, <<0>>)
  defp is(:atom, value), do: is_atom(value)
  defp is(:flag, value), do: is_boolean(value)
  defp is(:pid, value), do: is_pid(value)
  defp is(:ms, value), do: value == :infinity or (is_integer(value) and value in 0..86_400_000)
  defp is(:positive_ms, value), do: is_integer(value) and value in 1..86_400_000
  defp is(:cell, value), do: is_binary(value) and value =~ @cell_name
  defp is(:texts, value), do: is_list(value) and Enum.all?(value, &is(:text, &1))
  defp is(:server, value), do: is_pid(value) or is_atom(value) or is_tuple(value)

  defp is(:backoff, value),
    do: match?({low, high} when is_integer(low) and is_integer(high) and low in 1..high, value)

  defp is({:one_of, values}, value), do: value in values
  defp is(test, value) when is_function(test, 1), do: test.(value)

  @doc false
  def bad(message), do: {:error, %StartError{reason: :bad_option, message: message}}

  @doc false
  def cell_name?(value), do: is(:cell, value)
end
