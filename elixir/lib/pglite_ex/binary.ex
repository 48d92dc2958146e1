defmodule PgliteEx.Binary do
  @moduledoc """
  Finds the `pgcell` program and checks that it is one we can talk to.

  The first of these that is set is taken, and must be right; nothing is guessed when it is wrong:

    1. the option `:binary`, a path
    2. the environment variable `PGCELL_BINARY`
    3. `config :pglite_ex, binary: path`
    4. `priv/pgcell` of the application in the option `:otp_app`, and of `:pglite_ex`, if it is there
    5. `pgcell` in `PATH`

  The image (`pgcell.img`) is looked for by `pgcell` beside itself, unless the option `:image` says where it is.
  """

  alias PgliteEx.{Command, StartError}

  @requirement "~> 0.1"
  @contract 1
  @version_timeout_ms 10_000

  @doc "The versions of `pgcell` that this library was written for, as `Version.match?/2` wants it."
  @spec requirement() :: String.t()
  def requirement, do: @requirement

  @doc """
  Path of the program, without running it.

  Options: `:binary` (path) and `:otp_app` (atom), see above. Errors: `:not_found`, `:not_executable` and `:bad_option`
  of `PgliteEx.StartError`.
  """
  @spec find(keyword) :: {:ok, Path.t()} | {:error, StartError.t()}
  def find(opts \\ []) do
    named = [
      {"the option :binary", opts[:binary]},
      {"the environment variable PGCELL_BINARY", System.get_env("PGCELL_BINARY")},
      {"config :pglite_ex, binary:", Application.get_env(:pglite_ex, :binary)}
    ]

    case Enum.find(named, fn {_origin, path} -> path not in [nil, ""] end) do
      {origin, path} when is_binary(path) -> usable(Path.expand(path), origin)
      {origin, other} -> error(:bad_option, "#{origin} is not a path: #{inspect(other)}")
      nil -> find_unnamed(opts[:otp_app])
    end
  end

  defp find_unnamed(otp_app) do
    bundled =
      for app <- Enum.uniq([otp_app, :pglite_ex]),
          app != nil,
          dir = priv_dir(app),
          do: Path.join(dir, "pgcell")

    case Enum.find(bundled, &File.exists?/1) || System.find_executable("pgcell") do
      nil ->
        error(
          :not_found,
          "there is no pgcell program: give its path with the option :binary or the environment variable " <>
            "PGCELL_BINARY, put it (with pgcell.img) into the application's priv/, or into PATH"
        )

      path ->
        usable(path, "priv/ or PATH")
    end
  end

  defp priv_dir(app) do
    case :code.priv_dir(app) do
      {:error, :bad_name} -> nil
      dir -> List.to_string(dir)
    end
  end

  defp usable(path, origin) do
    case File.stat(path) do
      {:ok, %{type: :regular, mode: mode}} ->
        if Bitwise.band(mode, 0o111) == 0,
          do: error(:not_executable, "#{path} (from #{origin}) is not executable: chmod +x may be missing"),
          else: {:ok, path}

      {:ok, %{type: type}} ->
        error(:not_executable, "#{path} (from #{origin}) is a #{type}, not a program")

      {:error, :enoent} ->
        error(:not_found, "there is no pgcell program at #{path} (from #{origin})")

      {:error, posix} ->
        error(:not_found, "cannot look at #{path} (from #{origin}): #{:file.format_error(posix)}")
    end
  end

  @doc """
  Asks the program for its version, and refuses one that is not for us.

  A version that prints the number of the contract between its parts (`pgcell 0.1.0 (contract 1)`) has to have the one that this library
  knows. Errors: `:wrong_program`, `:wrong_version`, `:not_executable` of `PgliteEx.StartError`.
  """
  @spec check(Path.t()) :: {:ok, String.t()} | {:error, StartError.t()}
  def check(path) do
    case Command.run(path, ["--version"], @version_timeout_ms) do
      {:ok, output} ->
        check_version(path, output)

      {:error, {:exit, status, _}} ->
        error(:wrong_program, "#{path} is not pgcell: --version ends with status #{status}")

      {:error, {:start, posix}} ->
        error(:not_executable, "#{path} cannot be started: #{inspect(posix)}")

      {:error, :timeout} ->
        error(:wrong_program, "#{path} is not pgcell: it does not answer --version")
    end
  end

  defp check_version(path, output) do
    case Regex.run(~r/\Apgcell (\d+\.\d+\.\d+\S*)(?: \(contract (\d+)\))?\s*\z/, output) do
      [_all, version] ->
        match_version(path, version, @contract)

      [_all, version, contract] ->
        match_version(path, version, String.to_integer(contract))

      nil ->
        error(
          :wrong_program,
          "#{path} is not pgcell: to --version it says #{inspect(String.slice(output, 0, 80))}"
        )
    end
  end

  defp match_version(path, version, contract) do
    cond do
      contract != @contract ->
        error(
          :wrong_version,
          "#{path} has contract version #{contract}, and this PgliteEx knows #{@contract}: use the pgcell and the " <>
            "PgliteEx of one release"
        )

      match?({:ok, _}, Version.parse(version)) and
          Version.match?(version, @requirement, allow_pre: true) ->
        {:ok, version}

      true ->
        error(
          :wrong_version,
          "#{path} is pgcell #{version}, and this PgliteEx needs #{@requirement}: use the pgcell and the PgliteEx of one release"
        )
    end
  end

  defp error(reason, message), do: {:error, %StartError{reason: reason, message: message}}
end
