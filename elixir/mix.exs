defmodule PgliteEx.MixProject do
  use Mix.Project

  @version "0.1.0"

  def project do
    [
      app: :pglite_ex,
      version: @version,
      elixir: "~> 1.14",
      elixirc_paths: elixirc_paths(Mix.env()),
      start_permanent: Mix.env() == :prod,
      deps: deps(),
      description: "PostgreSQL of its own for an application: pgcell under a supervisor",
      package: package(),
      docs: docs()
    ]
  end

  def application do
    [extra_applications: [:logger]]
  end

  defp elixirc_paths(:test), do: ["lib", "test/support"]
  defp elixirc_paths(_env), do: ["lib"]

  # Nothing is required. With PGLITE_EX_HEX=1 what tests and documentation can use is fetched from Hex: the tests of Postgrex and
  # :telemetry then run against the real ones, and `mix docs` exists.
  defp deps do
    if System.get_env("PGLITE_EX_HEX") in ["1", "true"] do
      [
        {:postgrex, ">= 0.17.0", only: :test},
        {:telemetry, "~> 1.0", only: :test},
        {:ex_doc, "~> 0.30", only: :dev, runtime: false}
      ]
    else
      []
    end
  end

  defp package do
    [
      links: %{},
      files: ~w(lib mix.exs .formatter.exs)
    ]
  end

  defp docs do
    [
      main: "PgliteEx",
      extras: ["../docs/elixir.md"],
      groups_for_modules: [
        Tests: [PgliteEx.Case, PgliteEx.CellPool],
        "Raw protocol": [PgliteEx.Bridge, PgliteEx.Protocol]
      ]
    ]
  end
end
