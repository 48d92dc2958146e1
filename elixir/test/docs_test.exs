defmodule PgliteEx.DocsTest do
  # PGCELL_BINARY is everybody's.
  use ExUnit.Case, async: false

  import PgliteEx.Support

  @guide Path.expand("../../docs/elixir.md", __DIR__)
  @external_resource @guide

  defp blocks(heading) do
    [_before, section] = @guide |> File.read!() |> String.split("\n## #{heading}\n", parts: 2)
    [section | _later] = String.split(section, "\n## ", parts: 2)
    for [_all, code] <- Regex.scan(~r/```elixir\n(.*?)```/s, section), do: code
  end

  defp with_binary(path, fun) do
    saved = System.get_env("PGCELL_BINARY")
    System.put_env("PGCELL_BINARY", path)

    try do
      fun.()
    after
      if saved, do: System.put_env("PGCELL_BINARY", saved), else: System.delete_env("PGCELL_BINARY")
    end
  end

  test "the guide's examples are Elixir" do
    all = Regex.scan(~r/```elixir\n(.*?)```/s, File.read!(@guide))
    assert length(all) >= 7
    for [_all, code] <- all, do: assert({:ok, _} = Code.string_to_quoted(code))
  end

  test "the guide's examples of queries and of the raw protocol run" do
    for {heading, ability} <- [{"Without a driver", :serve}, {"The raw protocol", :port}],
        code <- blocks(heading) do
      with_binary(binary(ability), fn -> Code.eval_string(code) end)
    end
  end
end
